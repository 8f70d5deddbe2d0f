"""Streaming end to end: a client's stream bound to one stream of an upstream, until either ends.

Messages go both ways whole, as the bytes that they came as, and no faster than the slower side takes them. What waits for
the upstream congests the client's stream (stream.pxd), which reads no more and keeps its window shut; what waits for the
client keeps the upstream's window shut. Either direction holds at most UNSENT_CAP, a window and one message.
"""
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from modelward_native.backend.client cimport *
from modelward_native.backend.connection cimport UpstreamConnection, upstream_of
from modelward_native.backend.pool cimport Endpoint, Pool, pool_of
from modelward_native.backend.relay_answers cimport on_closed, on_data, on_field, on_frame
from modelward_native.backend.relayed cimport Relay
from modelward_native.backend.unanswered cimport forget_sent, note_sent, undo_sent
from modelward_native.backend.upstream_call cimport VERSION_SUFFIX
from modelward_native.backend.upstream_stream cimport version_suffix
from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State, server_of
from modelward_native.request.verdict cimport (
    CODE_DEADLINE_EXCEEDED, CODE_OK, REASON_DEADLINE, REASON_INFLIGHT_BYTES, REASON_NONE, REASON_NO_UPSTREAM,
    REASON_OUT_OF_MEMORY, REASON_RELAYED_STREAMS, name_of)
from modelward_native.timer.deadline cimport mw_timer, mw_timer_init, timer_add, timer_cancel
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.grpc cimport PREFIX, ending_with, write_prefix
from modelward_native.wire.holders cimport mw_holder, mw_holder_may_relay, mw_holder_relay
from modelward_native.wire.holding cimport holder_of, make_room, pay_for, release, unlink_sender
from modelward_native.wire.nghttp2 cimport NGHTTP2_CANCEL
from modelward_native.wire.outgoing cimport FIELDS, Outgoing, request_fields
from modelward_native.wire.receive cimport open_window
from modelward_native.wire.send cimport finish
from modelward_native.wire.transport cimport mark, wheel_of
from modelward_native.wire.types cimport METHOD_REFUSED, Stream

cdef enum:
    KEEP_BYTES = 4096             # an empty buffer up to this size is kept for the next message


# ---- the life of a relay -------------------------------------------------------------------------------------

cdef int relay_begin(
        State server, Stream *s, Pool pool, const char *path, size_t path_size, Model *model, int64_t due) noexcept:
    cdef int64_t now = s.conn.wire.now
    cdef Endpoint endpoint = pool.choose(None, model, now)
    cdef UpstreamConnection upstream
    cdef mw_holder *holder = holder_of(s)
    cdef Relay *r
    cdef uint8_t fields[FIELDS]
    cdef Outgoing outgoing
    if endpoint is None:
        return REASON_NO_UPSTREAM
    upstream = endpoint.upstream
    if not mw_holder_may_relay(
            holder, endpoint.inflight, min(upstream.client.max_streams, endpoint.rules.max_inflight),
            s.conn.wire.share_factor):
        return REASON_RELAYED_STREAMS
    r = <Relay *>calloc(1, sizeof(Relay))
    if r == NULL:
        return REASON_NO_UPSTREAM
    r.stream.calls = &CALLS
    r.stream.owner = r
    mw_timer_init(&r.timer, on_deadline)
    r.upstream = <PyObject *>upstream
    r.pool = <PyObject *>pool
    r.down = s
    r.model = model
    r.counters = server.other if model == NULL else model.counters
    outgoing.metadata = &s.metadata
    outgoing.caller = s.caller
    outgoing.shadow = False
    outgoing.due = due
    outgoing.who = s
    outgoing.entered = s.entered
    outgoing.attempt = 0
    if mw_client_submit(
            upstream.client, &r.stream, path, path_size, fields, request_fields(&outgoing, now, fields)) < 0:
        free(r)
        return REASON_NO_UPSTREAM
    Py_INCREF(pool)               # r.pool
    if model != NULL:
        model.users += 1
        endpoint.relays += 1
    s.relay = r
    r.holder = holder
    holder.users += 1
    mw_holder_relay(holder, 1)
    r.trial = endpoint.take(now)
    r.caller = part_of(s.budget)
    server.gauges.inflight += 1
    if due:
        timer_add(wheel_of(s.conn.wire), &r.timer, due)
    mark(upstream.transport)
    return REASON_NONE


cdef void detach(Relay *r) noexcept:
    """Once per relay: the client's call has its ending, or has gone. What is left is the upstream's stream, until it closes."""
    cdef UpstreamConnection upstream = upstream_of(r.upstream)
    cdef State server = server_of(upstream.transport.wire)
    forget_sent(r, upstream.transport.wire.now)
    r.down.relay = NULL
    r.down.outward = 0
    r.down = NULL
    server.gauges.inflight -= 1
    timer_cancel(wheel_of(upstream.transport.wire), &r.timer)
    release(upstream.transport.wire, &r.out)
    release(upstream.transport.wire, &r.answer)
    r.out_sent = 0


cdef void reset_upstream(Relay *r) noexcept:
    cdef UpstreamConnection upstream = upstream_of(r.upstream)
    mw_client_reset(upstream.client, &r.stream, NGHTTP2_CANCEL)
    mark(upstream.transport)


cdef void conclude(Relay *r, Ending *ending) noexcept:
    cdef Stream *s = r.down
    cdef int code = ending.code
    detach(r)
    r.counters.codes[code] += 1
    if code != CODE_OK:
        r.counters.fail += 1
    finish(s, ending)
    # what the client still sends goes nowhere
    s.method = METHOD_REFUSED
    unlink_sender(s)
    release(s.conn.wire, &s.message)
    release(s.conn.wire, &s.held)


cdef void give_up(Relay *r, int code, int reason, const char *text) noexcept:
    cdef Ending ending
    memset(&ending, 0, sizeof(ending))
    ending_with(&ending, code, text, name_of(reason))
    r.counters.refusals[reason] += 1
    conclude(r, &ending)


cdef void relay_cancel(Stream *s, int code) noexcept:
    cdef Relay *r = s.relay
    r.counters.codes[code] += 1
    detach(r)
    reset_upstream(r)


cdef void on_deadline(mw_timer *timer, int64_t now) noexcept:
    cdef Relay *r = <Relay *>timer
    r.down.conn.wire.now = now
    give_up(r, CODE_DEADLINE_EXCEEDED, REASON_DEADLINE, "deadline exceeded")
    reset_upstream(r)


# ---- from the client to the upstream -------------------------------------------------------------------------

cdef bint relays_to(const Stream *s, const PyObject *pool) noexcept:
    return s.relay.pool == pool


cdef bint relay_send(Stream *s, const Buffer *message, const uint8_t *suffix, size_t suffix_size) noexcept:
    cdef Relay *r = s.relay
    cdef UpstreamConnection upstream = upstream_of(r.upstream)
    cdef size_t size = PREFIX + message.size + suffix_size
    pay_for(&r.out, holder_of(s))
    if not make_room(s.conn.wire, &r.out, &r.out_sent, size):
        return False
    write_prefix(r.out.data + r.out.size, False, <uint32_t>(message.size + suffix_size))
    if message.size:
        memcpy(r.out.data + r.out.size + PREFIX, message.data, message.size)
    if suffix_size:
        memcpy(r.out.data + r.out.size + PREFIX + message.size, suffix, suffix_size)
    r.out.size += size
    s.outward += size
    wake(r, upstream)
    return True


cdef int relay_request(Exchange *x, int64_t now) noexcept:
    cdef Relay *r = x.stream.relay
    cdef uint8_t suffix[VERSION_SUFFIX]
    cdef size_t size = version_suffix(x, suffix) if x.model.names_version else 0
    if r == NULL or pool_of(r.pool).holds_open(upstream_of(r.upstream).endpoint, x.model):
        return REASON_NO_UPSTREAM  # its stream has ended while it waited; or an operator keeps requests from its endpoint
    if not note_sent(r, x, now):
        return REASON_OUT_OF_MEMORY
    if not relay_send(x.stream, &x.body, suffix, size):
        undo_sent(r)
        return REASON_INFLIGHT_BYTES
    x.wire.traffic.useful += x.body.size
    return REASON_NONE


cdef void relay_half_close(Stream *s) noexcept:
    cdef Relay *r = s.relay
    if not r.closing:
        r.closing = True
        wake(r, upstream_of(r.upstream))


cdef void wake(Relay *r, UpstreamConnection upstream) noexcept:
    mw_client_resume(upstream.client, &r.stream)
    mark(upstream.transport)


cdef ssize_t read_messages(mw_client_stream *stream, uint8_t *to, size_t room, bint *end) noexcept:
    cdef Relay *r = relay_of(stream)
    cdef Stream *s = r.down
    cdef size_t n
    if s == NULL:
        return MW_CLIENT_DEFERRED            # the reset is on its way
    n = min(room, r.out.size - r.out_sent)
    if n:
        memcpy(to, r.out.data + r.out_sent, n)
        r.out_sent += n
        s.outward -= n
        s.active = s.conn.wire.now
    if r.out_sent == r.out.size:
        r.out.size = 0
        r.out_sent = 0
        if r.out.capacity > KEEP_BYTES:
            release(s.conn.wire, &r.out)
        if r.closing:
            end[0] = True
            return n
        if n == 0:
            return MW_CLIENT_DEFERRED
    if s.withheld or s.held.size:
        open_window(s)            # may queue more here, or end the call: r is not looked at any more
    return n


cdef mw_client_calls CALLS
CALLS.read = read_messages
CALLS.field = on_field
CALLS.data = on_data
CALLS.frame = on_frame
CALLS.closed = on_closed
