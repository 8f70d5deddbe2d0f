"""One call on a stream of an upstream: what is sent on it, what it brings, and what that says of the endpoint."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset

from modelward_native.backend.breaker cimport MW_BREAKER_FAILURE, MW_BREAKER_SUCCESS, MW_BREAKER_IGNORED, mw_breaker_result
from modelward_native.backend.client cimport *
from modelward_native.backend.connection cimport UpstreamConnection, listen_for, note_frame, upstream_of
from modelward_native.backend.pool cimport Endpoint
from modelward_native.backend.upstream cimport conclude_call, on_hedge
from modelward_native.backend.upstream_call cimport UpstreamCall
from modelward_native.backend.upstream_status cimport TEXT_BYTES, blameless, copied, note_failure, read_http_refusal
from modelward_native.region.spare cimport mw_spare_keep, mw_spare_new, mw_spares
from modelward_native.request.caller cimport CALLERS, part_of
from modelward_native.request.exchange cimport PHASE_UPSTREAM, Exchange, exchange_unref
from modelward_native.request.hidden_outputs cimport ASK_HEAD, more_count, more_output, size_of_ask, write_ask
from modelward_native.request.model cimport Model
from modelward_native.request.protobuf cimport mw_put_bytes
from modelward_native.request.state cimport State, server_of
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport CODE_DEADLINE_EXCEEDED, CODE_UNAUTHENTICATED
from modelward_native.timer.deadline cimport mw_timer_init, timer_cancel
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.grpc cimport PREFIX, size_in, write_prefix
from modelward_native.wire.headers cimport keep_passed_back, refuses_us
from modelward_native.wire.holding cimport grow_beside, pay_for, release
from modelward_native.wire.nghttp2 cimport NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM
from modelward_native.wire.outgoing cimport FIELDS, Outgoing, request_fields
from modelward_native.wire.transport cimport mark, wheel_of
from modelward_native.wire.types cimport Wire

cdef enum:
    SPARE_CALLS = 4096

cdef mw_spares SPARES             # ended calls


cdef inline UpstreamCall *call_of(const mw_client_stream *stream) noexcept:
    """Of a stream whose calls are CALLS."""
    return <UpstreamCall *>stream.owner


# ---- the request -----------------------------------------------------------------------------------------------

cdef UpstreamCall *send_call(Exchange *x, Endpoint endpoint, int64_t now) noexcept:
    cdef UpstreamConnection upstream = endpoint.upstream
    cdef UpstreamCall *call = <UpstreamCall *>mw_spare_new(&SPARES, sizeof(UpstreamCall))
    cdef uint8_t fields[FIELDS]
    cdef Outgoing outgoing
    if call == NULL:
        return NULL
    call.stream.calls = &CALLS
    call.stream.owner = call
    call.exchange = x
    call.attempt = x.attempt
    call.upstream = <PyObject *>upstream
    call.pool = x.model.pool
    call.started = now
    call.beside = endpoint.to_answer()
    if x.model != x.asked or x.mirrors != NULL:
        name_model(call, x.model)
    elif x.model.names_version:
        call.suffix_size = version_suffix(x, call.suffix)
    x.asking = size_of_ask(client_of(x), x.model)
    write_prefix(call.prefix, False, <uint32_t>(x.body.size + call.suffix_size + x.asking))
    mw_timer_init(&call.timer, on_hedge)
    outgoing.metadata = &x.stream.metadata if x.stream != NULL else NULL
    outgoing.caller = x.stream.caller if x.stream != NULL else NULL
    outgoing.shadow = x.mirrors != NULL or x.mirrored
    outgoing.due = x.due
    outgoing.who = x
    outgoing.entered = x.entered
    outgoing.attempt = (<int64_t>x.attempt << 1) + (x.call != NULL)
    if mw_client_submit(upstream.client, &call.stream, "/inference.GRPCInferenceService/ModelInfer", 42, fields,
                        request_fields(&outgoing, now, fields)) < 0:
        mw_spare_keep(&SPARES, call, SPARE_CALLS)
        return NULL
    x.references += 1
    if upstream.calls == 0:
        upstream.began = now
    upstream.calls += 1
    call.trial = endpoint.take(now)
    listen_for(upstream, now)
    mark(upstream.transport)
    return call


cdef inline const Exchange *client_of(const Exchange *x) noexcept:
    """The one whose message is sent, and who asks for the outputs."""
    return x.mirrors if x.mirrors != NULL else x


cdef ssize_t read_body(mw_client_stream *stream, uint8_t *to, size_t room, bint *end) noexcept:
    cdef UpstreamCall *call = call_of(stream)
    cdef const Exchange *x = call.exchange
    cdef const Buffer *body = &x.body
    cdef size_t n = 0, more = PREFIX + body.size + call.suffix_size
    n += part(call, to, room, 0, call.prefix, PREFIX)
    n += part(call, to + n, room - n, PREFIX, body.data, body.size)
    n += part(call, to + n, room - n, PREFIX + body.size, call.suffix, call.suffix_size)
    if x.asking and call.sent >= more:
        n += read_ask(call, to + n, room - n, more)
    end[0] = call.sent == more + x.asking
    return n


cdef size_t read_ask(UpstreamCall *call, uint8_t *to, size_t room, size_t start) noexcept:
    """What asks for outputs that the client does not name."""
    cdef const Exchange *x = call.exchange
    cdef const Exchange *client = client_of(x)
    cdef const mw_span *name
    cdef uint8_t head[ASK_HEAD]
    cdef size_t n = 0, size
    cdef uint32_t i
    for i in range(more_count(client)):
        name = more_output(client, x.model, i)
        if name == NULL:
            continue
        size = write_ask(name, head)
        n += part(call, to + n, room - n, start, head, size)
        n += part(call, to + n, room - n, start + size, name.data, name.size)
        start += size + name.size
    return n


cdef size_t part(UpstreamCall *call, uint8_t *to, size_t room, size_t start, const uint8_t *data, size_t size) noexcept:
    """What is still to be sent of one of the parts, as far as there is room."""
    cdef size_t n
    if call.sent < start or call.sent >= start + size:
        return 0
    n = min(room, start + size - call.sent)
    memcpy(to, data + (call.sent - start), n)
    call.sent += n
    return n


cdef void name_model(UpstreamCall *call, const Model *m) noexcept:
    """In protobuf the last of a field's values counts. A fallback's version is any, unless shares of its versions are decided
    here; a shadow's is its own, where it has one."""
    cdef uint8_t *end = mw_put_bytes(call.suffix, 1, m.name.data, m.name.size)
    cdef bint named = call.exchange.mirrors != NULL or m.names_version
    end = mw_put_bytes(end, 2, m.version.data, m.version.size if named else 0)
    call.suffix_size = end - call.suffix


cdef size_t version_suffix(const Exchange *x, uint8_t *to) noexcept:
    cdef const Model *m = x.model
    return 0 if x.named else mw_put_bytes(to, 2, m.version.data, m.version.size) - to


cdef void reset_call(UpstreamCall *call) noexcept:
    cdef UpstreamConnection upstream = upstream_of(call.upstream)
    mw_client_reset(upstream.client, &call.stream, NGHTTP2_CANCEL)
    mark(upstream.transport)


# ---- the answer ------------------------------------------------------------------------------------------------

cdef int on_field(mw_client_stream *stream, const uint8_t *name, size_t name_size, const uint8_t *value, size_t size) noexcept:
    cdef UpstreamCall *call = call_of(stream)
    if name_size == 12 and memcmp(name, b"grpc-message", 12) == 0:
        if call.ending.message == NULL and size <= TEXT_BYTES:
            call.ending.message = copied(value, size)
    elif name_size == 23 and memcmp(name, b"grpc-status-details-bin", 23) == 0:
        if call.ending.details == NULL and size <= TEXT_BYTES:
            call.ending.details = copied(value, size)
    else:
        return keep_passed_back(&call.ending.metadata if call.opened else &call.initial, name, name_size, value, size)
    return 0


cdef void on_data(mw_client_stream *stream, const uint8_t *data, size_t size) noexcept:
    cdef UpstreamCall *call = call_of(stream)
    cdef UpstreamConnection upstream = upstream_of(call.upstream)
    cdef Wire *wire = upstream.transport.wire
    cdef size_t most = PREFIX + wire.message_size
    mw_client_consume(upstream.client, stream, size)
    mw_client_consume(upstream.client, NULL, size)
    if call.too_large or call.exchange.attempt != call.attempt:
        return
    pay_for(&call.answer, call.exchange.body.holder)
    if call.answer.size + size > most or (call.answer.size + size > call.answer.capacity and grow_beside(
            wire, &call.answer, max(call.answer.size + size, min(2 * call.answer.capacity, most))) < 0):
        call.too_large = True
        mw_client_reset(upstream.client, stream, NGHTTP2_CANCEL)
        return
    memcpy(call.answer.data + call.answer.size, data, size)
    call.answer.size += size


cdef void on_frame(mw_client_stream *stream, bint headers, bint end) noexcept:
    cdef UpstreamCall *call = call_of(stream)
    note_frame(upstream_of(call.upstream))
    if not headers or call.opened:
        return
    call.opened = stream.http_status >= 200
    if not call.opened:
        call.initial.size = 0     # an interim response's is of no answer
    elif end:                     # the only block: these are trailers
        call.ending.metadata = call.initial
        memset(&call.initial, 0, sizeof(Buffer))


cdef void end_call(mw_client_stream *stream, uint32_t error) noexcept:
    """The stream has closed, or its connection has gone: what it brought goes to the exchange, if that still waits."""
    cdef UpstreamCall *call = call_of(stream)
    cdef UpstreamConnection upstream = upstream_of(call.upstream)
    cdef Endpoint endpoint = upstream.endpoint
    cdef State server = server_of(upstream.transport.wire)
    cdef Exchange *x = call.exchange
    cdef int64_t now = upstream.transport.wire.now
    cdef bint waiting = x.phase == PHASE_UPSTREAM and x.attempt == call.attempt and (
        x.call == call or x.hedge == call)
    cdef bint good
    if not stream.remote_ended:
        stream.grpc_status = -1   # what has come of the answer is not all of it
    read_http_refusal(stream, &call.ending.message)
    good = stream.http_status == 200 and blameless(stream.grpc_status) and (
        stream.grpc_status > 0 or complete(call))
    timer_cancel(wheel_of(upstream.transport.wire), &call.timer)
    upstream.calls -= 1
    endpoint.give_back()
    # what a GOAWAY sends back says nothing of the next connection, an answer that we had no room for nothing of the server
    if good and stream.grpc_status > 0 and refuses_us(x.stream, stream.grpc_status, endpoint.proven):
        judge_refusal(call, stream.grpc_status, now)
    elif good:
        judge_call(call, MW_BREAKER_SUCCESS, now)
        endpoint.measure(now - call.started, now)
    elif waiting and not call.too_large and not hurried(call, now) and not (
            unprocessed(call, error) and endpoint.upstream is not upstream):
        judge_call(call, MW_BREAKER_FAILURE, now, error != MW_CLIENT_LOST)
        note_failure(endpoint, stream, error, call.ending.message)
    else:
        judge_call(call, MW_BREAKER_IGNORED, now)
    if waiting:
        conclude_call(server, call, error, endpoint, now)
    elif call.answer.size:
        x.model.counters.late += 1
    release(upstream.transport.wire, &call.answer)
    free(call.initial.data)
    free(call.ending.message)
    free(call.ending.details)
    free(call.ending.metadata.data)
    exchange_unref(x)
    mw_spare_keep(&SPARES, call, SPARE_CALLS)


cdef mw_client_calls CALLS
CALLS.read = read_body
CALLS.field = on_field
CALLS.data = on_data
CALLS.frame = on_frame
CALLS.closed = end_call


cdef UpstreamCall *call_on(const mw_client_stream *stream) noexcept:
    return call_of(stream) if stream.calls == &CALLS else NULL


# ---- what it says of the endpoint ------------------------------------------------------------------------------

cdef void judge_call(UpstreamCall *call, mw_breaker_result result, int64_t now, bint answered=True) noexcept:
    """Once per call: what is known first counts. answered: by the server itself, which what was sent may have to do with."""
    if not call.judged:
        call.judged = True
        upstream_of(call.upstream).endpoint.judge(
            call.trial, part_of(call.exchange.payers.identity) if answered else <uint32_t>CALLERS, result, call.pool, now)


cdef void judge_refusal(UpstreamCall *call, int status, int64_t now) noexcept:
    cdef UpstreamConnection upstream = upstream_of(call.upstream)
    if is_our_fault(upstream.transport.wire, status):
        judge_call(call, MW_BREAKER_FAILURE, now)
    else:
        judge_call(call, MW_BREAKER_IGNORED, now)
        upstream.endpoint.failures += 1
    note_failure(upstream.endpoint, &call.stream, 0, call.ending.message)


cdef void judge_overdue(UpstreamCall *call, int64_t now) noexcept:
    """A deadline that the endpoint usually keeps has passed: that is how a frozen one shows. No client can have an endpoint
    ejected by asking for the impossible."""
    cdef Endpoint endpoint = upstream_of(call.upstream).endpoint
    if now - call.started > 2 * endpoint.latency:
        judge_call(call, MW_BREAKER_FAILURE, now)
        endpoint.note(-1, "no answer before a deadline that it usually keeps")
        endpoint.measure_at_least(now - call.started, now)


cdef bint hurried(const UpstreamCall *call, int64_t now) noexcept:
    """The endpoint has said itself that the time was up, which its client had made too short: see judge_overdue."""
    return call.stream.grpc_status == CODE_DEADLINE_EXCEEDED and now - call.started <= 2 * (
        upstream_of(call.upstream)).endpoint.latency


cdef bint is_our_fault(const Wire *wire, int status) noexcept:
    """Whether that the upstream refuses us is evidence against it: where clients' credentials are checked here and not passed
    on, no client can cause it."""
    return status == CODE_UNAUTHENTICATED and wire.access != NULL and not wire.keep_credentials


cdef bint complete(const UpstreamCall *call) noexcept:
    cdef const uint8_t *answer = call.answer.data
    return call.answer.size >= PREFIX and answer[0] == 0 and call.answer.size - PREFIX == size_in(answer)


cdef bint unprocessed(const UpstreamCall *call, uint32_t error) noexcept:
    return error == NGHTTP2_REFUSED_STREAM or call.sent == 0
