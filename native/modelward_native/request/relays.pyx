"""Calls that an upstream answers: streams of its models, and methods that are not known here. Their bytes pass as they are."""
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t

from modelward_native.access.identity cimport PERMIT_PASSTHROUGH
from modelward_native.access.permissions cimport permit_method
from modelward_native.backend.pool cimport pool_of
from modelward_native.backend.relay cimport relay_begin, relay_send, relays_to
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.holding cimport release
from modelward_native.wire.receive cimport inflation_verdict
from modelward_native.wire.types cimport METHOD_RELAY, Stream
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State, server_of
from modelward_native.request.streams cimport refuse_call
from modelward_native.request.verdict cimport (
    REASON_INFLIGHT_BYTES, REASON_NONE, REASON_OUT_OF_MEMORY, REASON_RELAYED_STREAMS,
    REASON_UNSUPPORTED_FEATURE, Verdict, refusal)
from modelward_native.stages.admit cimport admit_to
from modelward_native.stages.deadline cimport margin, set_deadline
from modelward_native.stages.inflate cimport busy, open_packed
from modelward_native.stages.limit cimport charge
from modelward_native.stages.stage cimport REFUSE, STOP
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.compression cimport INFLATED_PART, INFLATED_WHOLE
from modelward_native.wire.headers cimport keep_header, passed_on
from modelward_native.wire.inflater cimport packed_free
from modelward_native.wire.packed cimport Packed
from modelward_native.wire.stream cimport refuse_for

cdef const char *RELAYED_TEXT = "your streams have their share of the upstream's already; end one or retry shortly"


cdef inline int64_t due_of(const Stream *s) noexcept:
    return s.entered + s.timeout - margin(s.timeout) if s.timeout else 0


cdef int relay(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    """The first message binds the stream, and with it the choice of upstreams."""
    cdef Stream *s = x.stream
    cdef Model *m = x.asked
    cdef int reason = REASON_NONE
    if s.relay == NULL:
        reason = relay_begin(
            server, s, pool_of(m.pool), "/inference.GRPCInferenceService/ModelStreamInfer", 48, m, due_of(s))
    if reason == REASON_NONE and not relays_to(s, m.pool):
        refusal(v, REASON_UNSUPPORTED_FEATURE, "this stream is bound to the upstreams of another model; open one for this model")
        return REFUSE
    if reason == REASON_NONE:
        x.model = m
        if x.due:
            set_deadline(server, x)   # until it goes up
        reason = admit_to(server, x, m, now)
    if reason == REASON_NONE:
        return STOP
    refusal(v, reason, RELAYED_TEXT if reason == REASON_RELAYED_STREAMS else NULL)
    return REFUSE


cdef int begin_relay(State server, Stream *s, bytes path) except -1:
    """The upstream answers, whatever is asked: the bytes are not looked at."""
    cdef list headers = <list><object>s.call
    cdef bytes name, value
    cdef int kept = 0, reason
    for name, value in headers[1:]:      # the first is the path
        if passed_on(name, len(name)):
            kept |= keep_header(&s.metadata, name, len(name), value, len(value))
    s.call = NULL
    Py_DECREF(headers)
    s.method = METHOD_RELAY
    if kept < 0:
        refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")
        return 0
    reason = relay_begin(server, s, server.passthrough, path, len(path), NULL, due_of(s))
    if reason == REASON_RELAYED_STREAMS:
        refuse_for(s, reason, RELAYED_TEXT)
    elif reason != REASON_NONE:
        refuse_for(s, reason, "no upstream server can be reached")
    return 0


cdef void pass_through(State server, Stream *s, Buffer *message, int64_t now) noexcept:
    """The first message is paid for with the headers, every other one by itself."""
    cdef Verdict v
    cdef Packed *packed
    cdef bint goes = s.messages <= 1 or charge(server, s, &v)
    if goes and s.caller != NULL:
        goes = permit_method(s, PERMIT_PASSTHROUGH, &v)
    if not goes:
        refuse_call(server, s, &v)
    elif not s.compressed:
        send_on(s, message)
    elif not open_packed(server, s, NULL, message, &v, now):
        refuse_call(server, s, &v)
    else:
        packed = s.packed
        if server.inflater.unpack(packed) != INFLATED_PART:
            s.packed = NULL
            packed.stream = NULL
            send_unpacked(s, packed)
            packed_free(packed)
        elif not server.inflater.queue(packed):
            packed_free(packed)
            busy(&v)
            refuse_call(server, s, &v)
    release(s.conn.wire, message)


cdef void send_on(Stream *s, const Buffer *message) noexcept:
    if not relay_send(s, message, NULL, 0):
        refuse_for(s, REASON_INFLIGHT_BYTES, "no room for the message: upstreams have not taken those before it; retry shortly")


cdef void send_unpacked(Stream *s, Packed *packed) noexcept:
    cdef Verdict v
    if packed.state == INFLATED_WHOLE:
        send_on(s, &packed.work.out)
        return
    inflation_verdict(&v, packed.state, s.conn.wire.message_size)
    refuse_call(server_of(s.conn.wire), s, &v)
