"""The answers of a relayed stream's upstream: whole messages go on to the client, and the upstream's status ends its call."""
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset

from modelward_native.backend.breaker cimport MW_BREAKER_FAILURE, MW_BREAKER_SUCCESS, MW_BREAKER_IGNORED, mw_breaker_result
from modelward_native.backend.client cimport *
from modelward_native.detect.suspicion cimport MW_STEP_ROUND
from modelward_native.backend.connection cimport UpstreamConnection, note_frame, upstream_of
from modelward_native.backend.pool cimport Endpoint, pool_of
from modelward_native.backend.relay cimport conclude, give_up, relay_of, reset_upstream
from modelward_native.backend.relayed cimport Relay
from modelward_native.backend.unanswered cimport hear_answer
from modelward_native.backend.upstream_status cimport TEXT_BYTES, blameless, copied, note_failure, read_http_refusal
from modelward_native.request.caller cimport CALLERS
from modelward_native.request.oip cimport mw_oip_stream_response
from modelward_native.stages.reply cimport UPSTREAM_REFUSES_US
from modelward_native.stages.soften cimport softened
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport (
    CODE_CANCELLED, CODE_DEADLINE_EXCEEDED, CODE_INTERNAL, CODE_INVALID_ARGUMENT, CODE_NOT_FOUND, CODE_OK,
    CODE_RESOURCE_EXHAUSTED, CODE_UNAVAILABLE, CODE_UNIMPLEMENTED, CODE_UNKNOWN, REASON_BACKEND_FAILED,
    REASON_MESSAGE_TOO_LARGE, REASON_NO_UPSTREAM, REASON_OUT_OF_MEMORY, REASON_RESTRICTED, REASON_UPSTREAM_CREDENTIALS)
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.grpc cimport PREFIX, buffer_free, size_in
from modelward_native.wire.headers cimport keep_passed_back, refuses_us
from modelward_native.wire.holders cimport mw_holder_leave, mw_holder_relay
from modelward_native.wire.holding cimport grow, holder_of, pay_for
from modelward_native.wire.nghttp2 cimport NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_REFUSED_STREAM
from modelward_native.wire.receive cimport open_window
from modelward_native.wire.send cimport begin_answer, send_message
from modelward_native.wire.stream cimport UNSENT_CAP
from modelward_native.wire.transport cimport mark
from modelward_native.wire.types cimport Stream, Wire

cdef enum:
    FIRST_BYTES = 1024            # taken for an answer before its bytes have come, however long it says it is


# ---- messages --------------------------------------------------------------------------------------------------

cdef inline bint slow(const Stream *s) noexcept:
    return s.out.size - s.out_sent > UNSENT_CAP


cdef void open_upstream_window(Relay *r) noexcept:
    cdef UpstreamConnection upstream = upstream_of(r.upstream)
    if r.withheld and not slow(r.down):
        mw_client_consume(upstream.client, &r.stream, r.withheld)
        r.withheld = 0
        mark(upstream.transport)


cdef void relay_drained(Stream *s) noexcept:
    if s.relay != NULL:
        open_upstream_window(s.relay)


cdef bint begin_message(Relay *r) noexcept:
    """The prefix of an answer is complete: may it pass?"""
    cdef const uint8_t *p = r.answer.data
    r.expected = size_in(p)
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
                if r.step >= MW_STEP_ROUND and not soften_answer(r, message):
                    give_up(r, CODE_RESOURCE_EXHAUSTED, REASON_RESTRICTED, "this model does not answer this caller for a time")
                    reset_upstream(r)
                    return
            send_message(r.down, b)          # takes it
            memset(b, 0, sizeof(Buffer))
            pay_for(b, holder_of(r.down))


cdef bint soften_answer(Relay *r, mw_span message) noexcept:
    """As the stage `soften` does. A whole stream is not held back: what `delay` brings there is the top class."""
    cdef mw_span response
    return mw_oip_stream_response(message, &response) and (response.size == 0 or softened(r.model, response, r.step, 0))


cdef void on_data(mw_client_stream *stream, const uint8_t *data, size_t size) noexcept:
    """A slow client's stream keeps its own window shut, and never the connection's: the answers to others come through it."""
    cdef Relay *r = relay_of(stream)
    mw_client_consume(upstream_of(r.upstream).client, NULL, size)
    if r.down == NULL or stream.http_status != 200:
        mw_client_consume(upstream_of(r.upstream).client, stream, size)
        return
    r.withheld += size
    take(r, data, size)
    if r.down != NULL:
        open_upstream_window(r)
        if r.down.withheld or r.down.held.size:
            open_window(r.down)   # fewer may be unanswered; may send more, or end the call


cdef int on_field(mw_client_stream *stream, const uint8_t *name, size_t name_size, const uint8_t *value, size_t size) noexcept:
    cdef Relay *r = relay_of(stream)
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
    cdef Relay *r = relay_of(stream)
    note_frame(upstream_of(r.upstream))
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
                judge(r, MW_BREAKER_SUCCESS)
        r.metadata.size = 0       # metadata of an interim response is dropped


# ---- the end ---------------------------------------------------------------------------------------------------

cdef void conclude_upstream(Relay *r) noexcept:
    """END_STREAM has come: the upstream's own status, or what stands for it."""
    cdef Ending ending
    cdef Endpoint endpoint = upstream_of(r.upstream).endpoint
    cdef int http_status, status
    cdef bint good
    read_http_refusal(&r.stream, &r.message)
    http_status, status = r.stream.http_status, r.stream.grpc_status
    # which method is called is the client's choice
    good = http_status == 200 and status >= 0 and (blameless(status) or status == CODE_UNIMPLEMENTED)
    if good and status > 0 and refuses_us(r.down, status, endpoint.proven):
        judge(r, MW_BREAKER_IGNORED)
        endpoint.failures += 1
        note_failure(endpoint, &r.stream, 0, r.message)
        give_up(r, CODE_UNAVAILABLE, REASON_UPSTREAM_CREDENTIALS, UPSTREAM_REFUSES_US)
        return
    if status == CODE_DEADLINE_EXCEEDED:
        judge(r, MW_BREAKER_IGNORED)  # its client's
    judge(r, MW_BREAKER_SUCCESS if good else MW_BREAKER_FAILURE)
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
        r.model.signature_stale = True
    if status != CODE_OK:
        r.counters.refusals[<int>REASON_BACKEND_FAILED] += 1
    conclude(r, &ending)


cdef void on_closed(mw_client_stream *stream, uint32_t error) noexcept:
    """The upstream's stream is no more. Where the client still waits, it was reset, or its connection has gone."""
    cdef Relay *r = relay_of(stream)
    cdef UpstreamConnection upstream = upstream_of(r.upstream)
    if r.down != NULL:
        judge(r, MW_BREAKER_IGNORED if error == NGHTTP2_REFUSED_STREAM else MW_BREAKER_FAILURE, error != MW_CLIENT_LOST)
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
    judge(r, MW_BREAKER_IGNORED)
    upstream.endpoint.give_back()
    if r.model != NULL:
        upstream.endpoint.relays -= 1
    mw_holder_relay(r.holder, -1)
    mw_holder_leave(upstream.transport.wire.holders, r.holder)
    if r.model != NULL:
        r.model.users -= 1
    Py_DECREF(pool_of(r.pool))
    buffer_free(&r.metadata)
    free(r.message)
    free(r.details)
    free(r)


cdef void judge(Relay *r, mw_breaker_result result, bint answered=True) noexcept:
    """Tells the endpoint the result of a stream; its duration is no latency. Once per relay, early: a stream that has begun well
    may last for days, and the endpoint's breaker does not wait for its end."""
    cdef UpstreamConnection upstream = upstream_of(r.upstream)
    if not r.judged:
        r.judged = True
        upstream.endpoint.judge(
            r.trial, r.caller if answered else <uint32_t>CALLERS, result, r.pool, upstream.transport.wire.now)


cdef int code_of_http(int status) noexcept:
    """gRPC's doc/http-grpc-status-mapping.md, without what read_http_refusal reads."""
    if status == 400:
        return CODE_INTERNAL
    if status == 404:
        return CODE_UNIMPLEMENTED
    return CODE_UNAVAILABLE if status in (429, 502, 503, 504) else CODE_UNKNOWN
