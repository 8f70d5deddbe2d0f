"""Streaming end to end: a client's stream bound to one stream of an upstream, until either ends.

Messages go both ways whole, as the bytes that they came as, and no faster than the slower side takes them. What waits for
the upstream congests the client's stream (stream.pxd), which reads no more and keeps its window shut; what waits for the
client keeps the upstream's window shut. Either direction holds at most UNSENT_CAP, a window and one message.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from modelward_native.backend.relayed cimport Relay
from modelward_native.backend.breaker cimport MW_OUTCOME_BAD, MW_OUTCOME_GOOD, MW_OUTCOME_NONE, mw_outcome
from modelward_native.backend.client cimport *
from modelward_native.timer.deadline cimport mw_timer, mw_timer_init, timer_add, timer_cancel
from modelward_native.request.caller cimport CALLERS, part_of
from modelward_native.request.exchange cimport METHOD_REFUSED, Exchange, Stream, Wire
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.holders cimport mw_holder, mw_holder_leave, mw_holder_may_relay, mw_holder_relay
from modelward_native.wire.holding cimport holder_of, pay_for, unlink_sender
from modelward_native.wire.grpc cimport buffer_free, ending_with, write_prefix
from modelward_native.wire.headers cimport keep_passed_back, refuses_us
from modelward_native.request.model cimport Model
from modelward_native.wire.nghttp2 cimport NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_REFUSED_STREAM
from modelward_native.wire.outgoing cimport FIELDS, Outgoing, request_fields
from modelward_native.request.state cimport State
from modelward_native.wire.stream cimport (
    UNSENT_CAP, begin_answer, finish, grow, make_room, mark, open_window, release, send_message)
from modelward_native.request.tensor cimport mw_span
from modelward_native.backend.pool cimport Endpoint, Pool
from modelward_native.stages.reply cimport UPSTREAM_REFUSES_US
from modelward_native.backend.unanswered cimport forget_sent, hear_answer, note_sent, undo_sent
from modelward_native.backend.upstream cimport Upstream, blameless, copied, hear, note_failure, read_http_refusal
from modelward_native.request.verdict cimport (
    CODE_CANCELLED, CODE_DEADLINE_EXCEEDED, CODE_INTERNAL, CODE_INVALID_ARGUMENT, CODE_NOT_FOUND, CODE_OK,
    CODE_RESOURCE_EXHAUSTED, CODE_UNAVAILABLE, CODE_UNIMPLEMENTED, CODE_UNKNOWN, REASON_BACKEND_FAILED,
    REASON_DEADLINE, REASON_INFLIGHT_BYTES, REASON_MESSAGE_TOO_LARGE, REASON_NO_UPSTREAM, REASON_NONE, REASON_OUT_OF_MEMORY,
    REASON_RELAYED_STREAMS, REASON_UPSTREAM_CREDENTIALS, name_of)

cdef enum:
    PREFIX = 5
    FIRST_BYTES = 1024            # taken for an answer before its bytes have come, however long it says it is
    KEEP_BYTES = 4096             # an empty buffer up to this size is kept for the next message
    TEXT_BYTES = 8192             # of grpc-message and of the status details


# ---- the life of a relay -------------------------------------------------------------------------------------

cdef int relay_begin(
        State server, Stream *s, Pool pool, const char *path, size_t path_size, Model *model, int64_t due) noexcept:
    cdef int64_t now = s.conn.wire.now
    cdef Endpoint endpoint = pool.choose(None, now)
    cdef Upstream upstream
    cdef mw_holder *holder = holder_of(s)
    cdef Relay *r
    cdef uint8_t fields[FIELDS]
    cdef Outgoing outgoing
    if endpoint is None:
        return REASON_NO_UPSTREAM
    upstream = <Upstream>endpoint.upstream
    if not mw_holder_may_relay(
            holder, endpoint.inflight, min(upstream.conn.client.max_streams, endpoint.rules.max_inflight),
            s.conn.wire.share_factor):
        return REASON_RELAYED_STREAMS
    r = <Relay *>calloc(1, sizeof(Relay))
    if r == NULL:
        return REASON_NO_UPSTREAM
    r.stream.calls = &CALLS
    r.stream.owner = r
    mw_timer_init(&r.timer, <void (*)(mw_timer *, int64_t) noexcept nogil>on_deadline)
    r.upstream = <PyObject *>upstream
    r.pool = <PyObject *>pool
    r.down = s
    r.model = model
    r.counters = server.other if model == NULL else model.counters
    outgoing.metadata = &s.metadata
    outgoing.shadow = False
    outgoing.due = due
    outgoing.who = s
    outgoing.entered = s.entered
    outgoing.attempt = 0
    if mw_client_submit(
            upstream.conn.client, &r.stream, path, path_size, fields, request_fields(&outgoing, now, fields)) < 0:
        free(r)
        return REASON_NO_UPSTREAM
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
        timer_add(server.listener.wheel, &r.timer, due)
    mark(&upstream.conn)
    return REASON_NONE


cdef void detach(Relay *r) noexcept:
    """Once per relay: the client's call has its ending, or has gone. What is left is the upstream's stream, until it closes."""
    cdef Upstream upstream = <Upstream>r.upstream
    cdef State server = <State>upstream.conn.wire.server
    forget_sent(r, upstream.conn.wire.now)
    r.down.relay = NULL
    r.down.outward = 0
    r.down = NULL
    server.gauges.inflight -= 1
    timer_cancel(server.listener.wheel, &r.timer)
    release(upstream.conn.wire, &r.out)
    release(upstream.conn.wire, &r.answer)
    r.out_sent = 0


cdef void reset_upstream(Relay *r) noexcept:
    cdef Upstream upstream = <Upstream>r.upstream
    mw_client_reset(upstream.conn.client, &r.stream, NGHTTP2_CANCEL)
    mark(&upstream.conn)


cdef void conclude(Relay *r, Ending *ending) noexcept:
    """The client's call ends with this, behind the answers that it has still to take. Takes the ending."""
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
    """A status of our own in place of the upstream's."""
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


cdef bint relay_send(Stream *s, const Buffer *message) noexcept:
    cdef Relay *r = s.relay
    cdef Upstream upstream = <Upstream>r.upstream
    cdef size_t size = PREFIX + message.size
    pay_for(&r.out, holder_of(s))
    if not make_room(s.conn.wire, &r.out, &r.out_sent, size):
        return False
    write_prefix(r.out.data + r.out.size, False, <uint32_t>message.size)
    if message.size:
        memcpy(r.out.data + r.out.size + PREFIX, message.data, message.size)
    r.out.size += size
    s.outward += size
    wake(r, upstream)
    return True


cdef int relay_request(Exchange *x, int64_t now) noexcept:
    cdef Relay *r = x.stream.relay
    if r == NULL:
        return REASON_NO_UPSTREAM  # its stream has ended while it waited
    if not note_sent(r, x, now):
        return REASON_OUT_OF_MEMORY
    if not relay_send(x.stream, &x.body):
        undo_sent(r)
        return REASON_INFLIGHT_BYTES
    return REASON_NONE


cdef void relay_half_close(Stream *s) noexcept:
    cdef Relay *r = s.relay
    if not r.closing:
        r.closing = True
        wake(r, <Upstream>r.upstream)


cdef void wake(Relay *r, Upstream upstream) noexcept:
    mw_client_resume(upstream.conn.client, &r.stream)
    mark(&upstream.conn)


cdef ssize_t read_messages(mw_client_stream *stream, uint8_t *to, size_t room, bint *end) noexcept:
    cdef Relay *r = <Relay *>stream.owner
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


# ---- from the upstream to the client -------------------------------------------------------------------------

cdef inline bint slow(const Stream *s) noexcept:
    return s.out.size - s.out_sent > UNSENT_CAP


cdef void open_upstream_window(Relay *r) noexcept:
    cdef Upstream upstream = <Upstream>r.upstream
    if r.withheld and not slow(r.down):
        mw_client_consume(upstream.conn.client, &r.stream, r.withheld)
        r.withheld = 0
        mark(&upstream.conn)


cdef void relay_drained(Stream *s) noexcept:
    if s.relay != NULL:
        open_upstream_window(s.relay)


cdef bint begin_message(Relay *r) noexcept:
    """The prefix of an answer is complete: may it pass?"""
    cdef const uint8_t *p = r.answer.data
    r.expected = (<uint32_t>p[1] << 24) | (<uint32_t>p[2] << 16) | (<uint32_t>p[3] << 8) | p[4]
    if p[0] != 0:
        # compression was not offered to it, and the client's own encoding is another matter
        give_up(r, CODE_INTERNAL, REASON_BACKEND_FAILED, "the upstream's answer is not gRPC, or compressed unasked")
    elif r.expected > r.down.conn.wire.message_size:
        give_up(r, CODE_RESOURCE_EXHAUSTED, REASON_MESSAGE_TOO_LARGE, "the upstream's answer is larger than limits.message_size")
    else:
        return True
    reset_upstream(r)
    return False


cdef void take(Relay *r, const uint8_t *data, size_t size) noexcept:
    """Bytes of the upstream's answers; whole messages go on to the client."""
    cdef Wire *wire = r.down.conn.wire
    cdef Buffer *b = &r.answer
    cdef const uint8_t *end = data + size
    cdef size_t need, n
    cdef mw_span message
    pay_for(b, holder_of(r.down))
    while data < end:
        need = PREFIX + <size_t>r.expected if b.size >= PREFIX else PREFIX
        n = min(<size_t>(end - data), need - b.size)
        if grow(wire, b, min(max(need, <size_t>FIRST_BYTES), max(b.size + n, 2 * b.capacity, <size_t>FIRST_BYTES))) < 0:
            give_up(r, CODE_RESOURCE_EXHAUSTED, REASON_OUT_OF_MEMORY, "no room for the upstream's answer; retry shortly")
            reset_upstream(r)
            return
        memcpy(b.data + b.size, data, n)
        b.size += n
        data += n
        if b.size == PREFIX and need == PREFIX and not begin_message(r):
            return
        if b.size >= PREFIX and b.size == PREFIX + <size_t>r.expected:
            if r.model != NULL:
                message.data = b.data + PREFIX
                message.size = r.expected
                hear_answer(r, message, wire.now)
            send_message(r.down, b)          # takes it
            memset(b, 0, sizeof(Buffer))
            pay_for(b, holder_of(r.down))


cdef void on_data(mw_client_stream *stream, const uint8_t *data, size_t size) noexcept:
    """A slow client's stream keeps its own window shut, and never the connection's: the answers to others come through it."""
    cdef Relay *r = <Relay *>stream.owner
    mw_client_consume((<Upstream>r.upstream).conn.client, NULL, size)
    if r.down == NULL or stream.http_status != 200:
        mw_client_consume((<Upstream>r.upstream).conn.client, stream, size)
        return
    r.withheld += size
    take(r, data, size)
    if r.down != NULL:
        open_upstream_window(r)
        if r.down.withheld or r.down.held.size:
            open_window(r.down)   # fewer may be unanswered; may send more, or end the call


cdef int on_field(mw_client_stream *stream, const uint8_t *name, size_t name_size, const uint8_t *value, size_t size) noexcept:
    cdef Relay *r = <Relay *>stream.owner
    if r.down == NULL:
        return 0
    if name_size == 12 and memcmp(name, b"grpc-message", 12) == 0:
        if r.message == NULL and size <= TEXT_BYTES:
            r.message = copied(value, size)
    elif name_size == 23 and memcmp(name, b"grpc-status-details-bin", 23) == 0:
        if r.details == NULL and size <= TEXT_BYTES:
            r.details = copied(value, size)
    else:
        return keep_passed_back(&r.metadata, name, name_size, value, size)
    return 0


cdef void on_frame(mw_client_stream *stream, bint headers, bint end) noexcept:
    cdef Relay *r = <Relay *>stream.owner
    hear(<Upstream>r.upstream)
    if r.down == NULL:
        return
    if end:
        conclude_upstream(r)
        if not stream.local_ended:
            reset_upstream(r)     # it has said all that it will: what the client would still send is not wanted
    elif headers:
        if stream.http_status == 200:
            begin_answer(r.down, &r.metadata)
            if r.trial:
                judge(r, MW_OUTCOME_GOOD)
        r.metadata.size = 0       # an interim response's is nobody's


cdef int code_of_http(int status) noexcept:
    """gRPC's doc/http-grpc-status-mapping.md, without what read_http_refusal reads."""
    if status == 400:
        return CODE_INTERNAL
    if status == 404:
        return CODE_UNIMPLEMENTED
    return CODE_UNAVAILABLE if status in (429, 502, 503, 504) else CODE_UNKNOWN


cdef void judge(Relay *r, mw_outcome outcome, bint answered=True) noexcept:
    """A stream's length is no latency: only its outcome tells something about the endpoint. Once per relay: a stream that has
    begun well may last for days, and its endpoint's breaker does not wait for its end."""
    cdef Upstream upstream = <Upstream>r.upstream
    if not r.judged:
        r.judged = True
        upstream.endpoint.judge(
            r.trial, r.caller if answered else <uint32_t>CALLERS, outcome, r.pool, upstream.conn.wire.now)


cdef void conclude_upstream(Relay *r) noexcept:
    """END_STREAM has come: the upstream's own status, or what stands for it."""
    cdef Ending ending
    cdef Endpoint endpoint = (<Upstream>r.upstream).endpoint
    cdef int http_status, status
    cdef bint good
    read_http_refusal(&r.stream, &r.message)
    http_status, status = r.stream.http_status, r.stream.grpc_status
    # which method is called is the client's choice
    good = http_status == 200 and status >= 0 and (blameless(status) or status == CODE_UNIMPLEMENTED)
    if good and status > 0 and refuses_us(r.down, status, endpoint.proven):
        judge(r, MW_OUTCOME_NONE)
        endpoint.failures += 1
        note_failure(endpoint, &r.stream, 0, r.message)
        give_up(r, CODE_UNAVAILABLE, REASON_UPSTREAM_CREDENTIALS, UPSTREAM_REFUSES_US)
        return
    if status == CODE_DEADLINE_EXCEEDED:
        judge(r, MW_OUTCOME_NONE)  # its client's
    judge(r, MW_OUTCOME_GOOD if good else MW_OUTCOME_BAD)
    if not good:
        note_failure(endpoint, &r.stream, 0, r.message)
    if status < 0:
        give_up(r, CODE_UNKNOWN if http_status == 200 else code_of_http(http_status), REASON_BACKEND_FAILED,
                "the upstream ended the call without a gRPC status")
        return
    if status == CODE_OK and r.answer.size:
        give_up(r, CODE_INTERNAL, REASON_BACKEND_FAILED, "the upstream ended the call in the middle of a message")
        return
    memset(&ending, 0, sizeof(ending))
    ending.code = status
    ending.message = r.message
    ending.details = r.details
    ending.metadata = r.metadata
    r.message = NULL
    r.details = NULL
    memset(&r.metadata, 0, sizeof(Buffer))
    if (status == CODE_NOT_FOUND or status == CODE_INVALID_ARGUMENT) and r.model != NULL:
        r.model.doubted = True
    if status != CODE_OK:
        r.counters.refusals[<int>REASON_BACKEND_FAILED] += 1
    conclude(r, &ending)


cdef void on_closed(mw_client_stream *stream, uint32_t error) noexcept:
    """The upstream's stream is no more. Where the client still waits, it was reset, or its connection has gone."""
    cdef Relay *r = <Relay *>stream.owner
    cdef Upstream upstream = <Upstream>r.upstream
    if r.down != NULL:
        judge(r, MW_OUTCOME_NONE if error == NGHTTP2_REFUSED_STREAM else MW_OUTCOME_BAD, error != MW_CLIENT_LOST)
        if error != NGHTTP2_REFUSED_STREAM:
            note_failure(upstream.endpoint, stream, error, r.message)
        if error == MW_CLIENT_LOST or error == NGHTTP2_REFUSED_STREAM:
            give_up(r, CODE_UNAVAILABLE, REASON_NO_UPSTREAM, "the connection to the upstream was lost; open the stream again")
        elif error == NGHTTP2_CANCEL:
            give_up(r, CODE_CANCELLED, REASON_BACKEND_FAILED, "the upstream cancelled the call")
        elif error == NGHTTP2_ENHANCE_YOUR_CALM:
            give_up(r, CODE_RESOURCE_EXHAUSTED, REASON_BACKEND_FAILED, "the upstream asks for fewer calls")
        else:
            give_up(r, CODE_INTERNAL, REASON_BACKEND_FAILED, "the upstream reset the call")
    judge(r, MW_OUTCOME_NONE)
    upstream.endpoint.give_back()
    if r.model != NULL:
        upstream.endpoint.relays -= 1
    mw_holder_relay(r.holder, -1)
    mw_holder_leave(upstream.conn.wire.holders, r.holder)
    if r.model != NULL:
        r.model.users -= 1
    buffer_free(&r.metadata)
    free(r.message)
    free(r.details)
    free(r)


cdef mw_client_calls CALLS
CALLS.read = read_messages
CALLS.field = on_field
CALLS.data = on_data
CALLS.frame = on_frame
CALLS.closed = on_closed
