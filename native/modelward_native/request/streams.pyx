"""The events of a stream: headers, messages, end and loss. Each goes to the code that answers the stream's method."""
from libc.stdint cimport int64_t
from libc.string cimport memset

from modelward_native.access.credentials cimport forget_caller
from modelward_native.access.permissions cimport permit_model, permit_to_go_on
from modelward_native.backend.relay cimport relay_cancel, relay_half_close
from modelward_native.backend.relay_answers cimport relay_drained
from modelward_native.request.exchange cimport PHASE_DONE, Exchange, exchange_new, exchange_unref
from modelward_native.wire.holding cimport release
from modelward_native.wire.receive cimport open_window
from modelward_native.wire.types cimport METHOD_COLD, METHOD_INFER, METHOD_REFUSED, METHOD_RELAY, METHOD_STREAM_INFER, Stream
from modelward_native.request.model cimport Model
from modelward_native.request.pipeline cimport begin_call, begin_request, go_on_identified, let_go, refused
from modelward_native.request.relays cimport pass_through
from modelward_native.request.route cimport Entry
from modelward_native.request.state cimport State, server_of
from modelward_native.request.verdict cimport CODE_CANCELLED, REASON_OUT_OF_MEMORY, Verdict, code_of, is_denial
from modelward_native.stages.deadline cimport watch_deadline
from modelward_native.stages.hold cimport let_go_held
from modelward_native.stages.inflate cimport open_packed
from modelward_native.stages.limit cimport charge
from modelward_native.stages.send cimport end_stream
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.call cimport Call, call_of
from modelward_native.telemetry.access_log cimport log_refusal
from modelward_native.wire.parking cimport promise
from modelward_native.wire.stream cimport refuse, refuse_for

cdef void on_headers(Stream *s, int64_t now) noexcept:
    begin_call(server_of(s.conn.wire), s, now)


cdef void on_identified(Stream *s, int64_t now) noexcept:
    go_on_identified(server_of(s.conn.wire), s, now)


cdef void begin_body(State server, Stream *s) noexcept:
    if s.method == METHOD_COLD:
        server.cold_calls.begin(server, s)


cdef void refuse_call(State server, Stream *s, Verdict *v) noexcept:
    on_refused(s, v)
    refuse(s, v)


cdef void on_refused(Stream *s, Verdict *verdict) noexcept:
    """Counts under no model: none is known yet."""
    cdef State server = server_of(s.conn.wire)
    server.other.refusals[verdict.reason] += 1
    if is_denial(verdict.reason):
        server.callers.note_denied(s)
    if s.relay != NULL:
        relay_cancel(s, code_of(verdict.reason))
    else:
        server.other.codes[code_of(verdict.reason)] += 1
        if s.method == METHOD_INFER or s.method == METHOD_STREAM_INFER:
            log_refusal(&server.access_log, s, verdict)


cdef void on_message(Stream *s, Buffer *message, int64_t now) noexcept:
    cdef State server = server_of(s.conn.wire)
    cdef Exchange *x
    cdef Verdict v
    if s.method == METHOD_COLD:
        # the first message is charged with the headers, every later one by itself
        if s.messages <= 1 or charge(server, s, &v):
            server.cold_calls.take(server, s, message)
        else:
            refuse_call(server, s, &v)
        return
    if s.method == METHOD_RELAY:
        pass_through(server, s, message, now)
        return
    x = exchange_new(s.conn.wire)
    if x == NULL:
        refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")
        return
    x.stream = s
    x.streaming = s.method == METHOD_STREAM_INFER
    x.mirrored = s.mirrored and s.conn.trusted
    x.priority = x.band = server.ordinary
    x.entered = now if x.streaming else s.entered
    if s.last != NULL:
        s.last.next_in_stream = x
    else:
        s.first = x
    s.last = x
    s.inflight += 1
    server.gauges.inflight += 1
    watch_deadline(x)
    if not s.compressed:
        x.body = message[0]
        memset(message, 0, sizeof(Buffer))
    elif not open_packed(server, s, x, message, &v, now):
        release(s.conn.wire, message)
        refused(server, x, &v, now)
        return
    begin_request(server, x, now)


cdef void on_ended(Stream *s, int64_t now) noexcept:
    cdef State server
    if s.method == METHOD_COLD:
        server = server_of(s.conn.wire)
        server.cold_calls.end_messages(server, s)
    elif s.method == METHOD_STREAM_INFER:
        end_stream(s)
    elif s.method == METHOD_RELAY:
        relay_half_close(s)


cdef bint on_check(Stream *s, int64_t now) noexcept:
    """Called twice a second for each stream. A stream ends when its caller's credential expires, or the rules change against it.

    A unary inference whose message is complete is left to finish.
    """
    cdef State server = server_of(s.conn.wire)
    cdef Verdict v
    cdef Entry *entry
    cdef Model *m = NULL
    if s.caller == NULL or s.finished or s.method == METHOD_REFUSED or s.attempt != NULL:
        return True
    if s.method == METHOD_INFER and s.remote_ended:
        return True
    if permit_to_go_on(server.access, s, now, &v):
        if s.relay != NULL:
            m = s.relay.model
        entry = NULL if m == NULL else server.directory.find(m.name)
        # a relayed stream whose model is no longer served is left to finish
        if entry == NULL or permit_model(s, entry.number, s.permits, &v):
            return True
    refuse_call(server, s, &v)
    return False


cdef bint on_working(Stream *s) noexcept:
    """False while the client has the next move: its message is not complete, or is answered and another may follow."""
    cdef Call call = call_of(s)
    if s.finished or s.method == METHOD_REFUSED:
        return False
    if call is not None:
        return not call.listens()
    return s.inflight > 0 or s.packed != NULL or s.attempt != NULL or (s.relay != NULL and s.messages > 0)


cdef void on_drained(Stream *s) noexcept:
    cdef Call call = call_of(s)
    open_window(s)
    relay_drained(s)
    if call is not None:
        call.drained()


cdef void on_gone(Stream *s) noexcept:
    """The client let go. Its exchanges are cancelled; results that still come are dropped."""
    cdef State server = server_of(s.conn.wire)
    cdef Exchange *x
    cdef Call call = call_of(s)
    while s.first != NULL:
        x = s.first
        s.first = x.next_in_stream
        if x.phase != PHASE_DONE:
            let_go(server, x, s.conn.wire.now)
        else:
            let_go_held(server, x)
        promise(x, 0)
        x.stream = NULL
        exchange_unref(x)
    s.last = NULL
    s.inflight = 0
    forget_caller(s)
    server.inflater.drop(s)
    if s.relay != NULL:
        relay_cancel(s, CODE_CANCELLED)
    if call is not None:
        call.gone()
