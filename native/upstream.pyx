"""The upstream side: requests forwarded as the bytes they came as, over one multiplexed connection per endpoint."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

import asyncio
import os

from native.exchange cimport PHASE_UPSTREAM, Buffer, Conn, Exchange, Wire, exchange_unref
from native.grpc cimport write_prefix
from native.h2 cimport Connection, Listener, flush_all
from native.model cimport Model
from native.nghttp2 cimport *
from native.outcome cimport fail, forwarded, refused_upstream
from native.session cimport mw_now_ns
from native.state cimport State
from native.stream cimport STATIC, STATIC_NAME, grow, header, mark, release
from native.verdict cimport REASON_BACKEND_FAILED, REASON_OUT_OF_MEMORY

cdef enum:
    RECEIVE_WINDOW = 1048576      # of one answer
    CONNECTION_WINDOW = 16777216
    HEADERS = 64                  # of the client, at most, that are passed on
    EJECT_AFTER = 5               # failures in a row
    RETRIES = 2                   # of one request, within the pool's budget

cdef int64_t SECOND = 1000000000
cdef int64_t EJECTION = 10 * SECOND
cdef double BUDGET_SHARE = 0.2    # retries per request
cdef double BUDGET_FLOOR = 10.0   # and always so many


# ---- choosing ------------------------------------------------------------------------------------------------

cdef class Endpoint:
    """One address of a pool. Its connection is kept by whoever made it (proxy.route)."""

    def __cinit__(self, str address, str authority):
        self.address = address
        self.authority = authority.encode()
        self.healthy = True

    @property
    def connected(self) -> bool:
        return self.upstream is not None

    @property
    def ejected(self) -> bool:
        return self.ejected_until > mw_now_ns()

    @property
    def latency_seconds(self) -> float:
        return self.latency / 1e9

    cdef bint available(self, int64_t now) noexcept:
        return self.upstream is not None and self.healthy and self.ejected_until <= now

    cdef void judge(self, bint good, int64_t took, int64_t now) noexcept:
        """Passive health: failures in a row eject; an answer is a measurement."""
        if good:
            self.failures_in_row = 0
            self.latency += (took - self.latency) * 0.1 if self.latency else took
            return
        self.failures += 1
        self.failures_in_row += 1
        if self.failures_in_row >= EJECT_AFTER:
            self.failures_in_row = 0
            self.ejections += 1
            self.ejected_until = now + EJECTION


cdef class Pool:
    """The endpoints of one model. Picks by the power of two choices (Mitzenmacher 2001) on requests in flight times latency."""

    def __cinit__(self, list endpoints):
        self.endpoints = endpoints
        self.random = int.from_bytes(os.urandom(8), "little") | 1
        self.budget = BUDGET_FLOOR

    cdef Endpoint choose(self, Endpoint avoid, int64_t now):
        cdef Endpoint e, first = None, second = None
        cdef uint32_t n = 0, usable = 0, pick
        cdef uint32_t count = <uint32_t>len(self.endpoints)
        for e in self.endpoints:
            usable += e.available(now) and e is not avoid
        # with fewer than half in order, the checks may be what is wrong: everybody connected is tried again
        panic = usable * 2 < count
        n = 0
        for e in self.endpoints:
            if e.upstream is None or (e is avoid and count > 1) or not (panic or e.available(now)):
                continue
            n += 1
            # reservoir of two: every pair is equally likely
            self.random ^= self.random << 13
            self.random ^= self.random >> 7
            self.random ^= self.random << 17
            if n == 1:
                first = e
            elif n == 2:
                second = e
            else:
                pick = self.random % n
                if pick == 0:
                    first = e
                elif pick == 1:
                    second = e
        if second is None:
            return first
        return first if cost(first) <= cost(second) else second


cdef double cost(Endpoint e) noexcept:
    return (e.inflight + 1) * max(e.latency, 1000.0)


# ---- forwarding ----------------------------------------------------------------------------------------------

cdef ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room, uint32_t *flags,
                       nghttp2_data_source *source, void *user) noexcept:
    cdef Upcall *call = <Upcall *>source.ptr
    cdef Buffer *body = &call.exchange.body
    cdef size_t n = 0, k
    if call.sent < 5:
        n = min(room, 5 - call.sent)
        memcpy(to, call.prefix + call.sent, n)
        call.sent += n
    if call.sent >= 5:
        k = min(room - n, body.size - (call.sent - 5))
        memcpy(to + n, body.data + (call.sent - 5), k)
        call.sent += k
        n += k
        if call.sent == 5 + body.size:
            flags[0] = NGHTTP2_DATA_FLAG_EOF
    return n


cdef size_t client_headers(const Buffer *metadata, nghttp2_nv *nv, size_t room) noexcept:
    """The client's metadata, as h2 kept it: two lengths, name, value."""
    cdef size_t at = 0, n = 0
    cdef uint32_t sizes[2]
    while at + 8 <= metadata.size and n < room:
        memcpy(sizes, metadata.data + at, 8)
        nv[n] = header(<const char *>metadata.data + at + 8, sizes[0], metadata.data + at + 8 + sizes[0], sizes[1], 0)
        at += 8 + sizes[0] + sizes[1]
        n += 1
    return n


cdef bint forward(State server, Exchange *x, Pool pool, Endpoint avoid, int64_t now) noexcept:
    cdef Endpoint endpoint = pool.choose(avoid, now)
    cdef Upstream upstream
    cdef Upcall *call
    cdef nghttp2_data_provider provider
    cdef nghttp2_nv nv[7 + HEADERS]
    cdef char timeout[24]
    cdef int64_t left
    cdef size_t n = 6
    cdef int size
    if endpoint is None:
        return False
    upstream = endpoint.upstream
    call = <Upcall *>calloc(1, sizeof(Upcall))
    if call == NULL:
        return False
    call.exchange = x
    call.upstream = <void *>upstream
    call.status = -1
    call.started = now
    write_prefix(call.prefix, False, <uint32_t>x.body.size)
    nv[0] = header(":method", 7, <const char *>"POST", 4, STATIC)
    nv[1] = header(":scheme", 7, <const char *>"http", 4, STATIC)
    nv[2] = header(":path", 5, <const char *>"/inference.GRPCInferenceService/ModelInfer", 42, STATIC)
    nv[3] = header(":authority", 10, <const char *>endpoint.authority, len(endpoint.authority), STATIC_NAME)
    nv[4] = header("content-type", 12, <const char *>"application/grpc", 16, STATIC)
    nv[5] = header("te", 2, <const char *>"trailers", 8, STATIC)
    if x.due:
        left = min(max((x.due - now) // 1000, <int64_t>1), <int64_t>99999999)  # 8 digits are what gRPC allows
        size = snprintf(timeout, sizeof(timeout), "%lldu", <long long>left)
        nv[n] = header("grpc-timeout", 12, timeout, size, STATIC_NAME | NGHTTP2_NV_FLAG_NO_INDEX)
        n += 1
    if x.stream != NULL:
        n += client_headers(&x.stream.metadata, nv + n, HEADERS)
    provider.source.ptr = call
    provider.read_callback = read_body
    call.id = nghttp2_submit_request(upstream.conn.session, NULL, nv, n, &provider, call)
    if call.id < 0:
        free(call)
        return False
    x.references += 1
    x.attempt += 1
    x.phase = PHASE_UPSTREAM
    x.call = call
    call.attempt = x.attempt
    call.next = upstream.calls
    if call.next != NULL:
        call.next.previous = call
    upstream.calls = call
    endpoint.inflight += 1
    endpoint.requests += 1
    pool.budget = min(pool.budget + BUDGET_SHARE, BUDGET_FLOOR * 10)
    (<Model *>x.model).counters.queued += 1
    mark(&upstream.conn)
    return True


cdef bint forward_hook(void *server, Exchange *x, void *pool, int64_t now) noexcept:
    return forward(<State>server, x, <Pool>pool, None, now)


cdef void cancel_call(Exchange *x) noexcept:
    cdef Upcall *call = <Upcall *>x.call
    if call == NULL:
        return
    cdef Upstream upstream
    upstream = <Upstream>call.upstream
    x.call = NULL
    if upstream.conn.session != NULL:
        nghttp2_submit_rst_stream(upstream.conn.session, 0, call.id, NGHTTP2_CANCEL)
        mark(&upstream.conn)


cdef bint complete(const Upcall *call) noexcept:
    """Exactly one uncompressed message."""
    cdef const uint8_t *p = call.answer.data
    if call.answer.size < 5 or p[0] != 0:
        return False
    return call.answer.size - 5 == ((<uint32_t>p[1] << 24) | (<uint32_t>p[2] << 16) | (<uint32_t>p[3] << 8) | p[4])


cdef bint retry(State server, Exchange *x, Endpoint failed, int64_t now) noexcept:
    """Another endpoint, for a request that the first has not begun; within the budget and before the deadline."""
    cdef Model *m = <Model *>x.model
    cdef Pool pool = <Pool>m.pool
    if x.retries >= RETRIES or pool.budget < 1 or (x.due and x.due <= now):
        return False
    x.retries += 1
    if not forward(server, x, pool, failed, now):
        return False
    pool.budget -= 1
    pool.retries += 1
    return True


cdef void end_call(Upcall *call, uint32_t error, bint lost) noexcept:
    """The stream has closed, or its connection has gone: what it brought goes to the exchange, if that still waits."""
    cdef Upstream upstream = <Upstream>call.upstream
    cdef Endpoint endpoint = upstream.endpoint
    cdef State server = <State>upstream.conn.wire.server
    cdef Exchange *x = call.exchange
    cdef int64_t now = upstream.conn.wire.now
    cdef bint waiting = x.phase == PHASE_UPSTREAM and x.attempt == call.attempt
    cdef bint unprocessed = error == NGHTTP2_REFUSED_STREAM
    cdef bint good
    if call.previous != NULL:
        call.previous.next = call.next
    else:
        upstream.calls = call.next
    if call.next != NULL:
        call.next.previous = call.previous
    endpoint.inflight -= 1
    good = not lost and call.http_status == 200 and call.status >= 0 and blameless(call.status)
    if waiting or good:
        endpoint.judge(good or unprocessed, now - call.started, now)
    if not waiting:
        if call.answer.size:
            (<Model *>x.model).counters.late += 1
    else:
        x.call = NULL
        if call.status == 0 and complete(call):
            (<Model *>x.model).counters.runs += 1
            (<Model *>x.model).counters.rows += x.rows
            (<Model *>x.model).counters.compute_ns += now - call.started
            forwarded(server, x, &call.answer, now)
        elif unprocessed and retry(server, x, endpoint, now):
            pass
        elif call.too_large:
            fail(server, x, REASON_OUT_OF_MEMORY, now)
        elif call.status > 0:
            refused_upstream(server, x, call.status, &call.message, &call.details, now)
        else:
            fail(server, x, REASON_BACKEND_FAILED, now)
    release(upstream.conn.wire, &call.answer)
    free(call.message)
    free(call.details)
    exchange_unref(x)
    free(call)


cdef bint blameless(int status) noexcept:
    """Statuses that say nothing against the endpoint: the answer itself, and what the request is to blame for."""
    return status in (0, 1, 3, 5, 6, 7, 9, 11, 16)


# ---- callbacks of nghttp2 ------------------------------------------------------------------------------------

cdef Upcall *call_at(nghttp2_session *session, int32_t stream_id) noexcept:
    return <Upcall *>nghttp2_session_get_stream_user_data(session, stream_id)


cdef char *copied(const uint8_t *value, size_t size) noexcept:
    cdef char *text = <char *>malloc(size + 1)
    if text != NULL:
        memcpy(text, value, size)
        text[size] = 0
    return text


cdef int small_number(const uint8_t *value, size_t size) noexcept:
    cdef int n = 0
    cdef size_t i
    if size == 0 or size > 3:
        return -1
    for i in range(size):
        if value[i] < 48 or value[i] > 57:
            return -1
        n = n * 10 + value[i] - 48
    return n


cdef int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                   const uint8_t *value, size_t value_size, uint8_t flags, void *user) noexcept:
    cdef Upcall *call = call_at(session, frame.hd.stream_id)
    if call == NULL:
        return 0
    if name_size == 7 and memcmp(name, b":status", 7) == 0:
        call.http_status = small_number(value, value_size)
    elif name_size == 11 and memcmp(name, b"grpc-status", 11) == 0:
        call.status = small_number(value, value_size)
        if call.status > 16:
            call.status = 2
    elif name_size == 12 and memcmp(name, b"grpc-message", 12) == 0 and call.message == NULL and value_size <= 8192:
        call.message = copied(value, value_size)
    elif name_size == 23 and memcmp(name, b"grpc-status-details-bin", 23) == 0 and call.details == NULL and value_size <= 8192:
        call.details = copied(value, value_size)
    return 0


cdef int on_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t size,
                  void *user) noexcept:
    cdef Upcall *call = call_at(session, stream_id)
    cdef Wire *wire
    nghttp2_session_consume(session, stream_id, size)
    if call == NULL or call.exchange.attempt != call.attempt:
        return 0
    wire = (<Upstream>call.upstream).conn.wire
    if call.answer.size + size > wire.message_size + 5 or grow(
            wire, &call.answer, max(call.answer.size + size, min(2 * call.answer.capacity, wire.message_size + 5))) < 0:
        call.too_large = True
        nghttp2_submit_rst_stream(session, 0, stream_id, NGHTTP2_CANCEL)
        return 0
    memcpy(call.answer.data + call.answer.size, data, size)
    call.answer.size += size
    return 0


cdef int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) noexcept:
    cdef Upstream upstream
    if frame.hd.type == NGHTTP2_GOAWAY:
        # it finishes what it has begun; what comes next goes over a new connection
        upstream = <Upstream>(<Conn *>user).owner
        upstream.leave()
    return 0


cdef int on_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *user) noexcept:
    cdef Upcall *call = call_at(session, stream_id)
    if call != NULL:
        nghttp2_session_set_stream_user_data(session, stream_id, NULL)
        end_call(call, error, False)
    return 0


cdef nghttp2_session_callbacks *CALLBACKS = NULL
cdef nghttp2_option *OPTIONS = NULL

if nghttp2_session_callbacks_new(&CALLBACKS) != 0 or nghttp2_option_new(&OPTIONS) != 0:
    raise MemoryError
nghttp2_session_callbacks_set_on_header_callback(CALLBACKS, on_header)
nghttp2_session_callbacks_set_on_data_chunk_recv_callback(CALLBACKS, on_chunk)
nghttp2_session_callbacks_set_on_frame_recv_callback(CALLBACKS, on_frame)
nghttp2_session_callbacks_set_on_stream_close_callback(CALLBACKS, on_close)
nghttp2_option_set_no_auto_window_update(OPTIONS, 1)
nghttp2_option_set_no_closed_streams(OPTIONS, 1)
nghttp2_option_set_max_outbound_ack(OPTIONS, 256)


# ---- the connection ------------------------------------------------------------------------------------------

cdef class Upstream(Connection):
    """asyncio.BufferedProtocol of one upstream connection."""

    def __init__(self, Listener listener, Endpoint endpoint):
        self.endpoint = endpoint

    def connection_made(self, transport):
        cdef nghttp2_settings_entry settings[2]
        self.transport = transport
        self.conn.opened = mw_now_ns()
        self.conn.active = self.conn.opened
        self.conn.handshaken = True
        if transport.get_extra_info("sslcontext") is None:
            socket = transport.get_extra_info("socket")
            self.conn.fd = socket.fileno() if socket is not None else -1
        if nghttp2_session_client_new2(&self.conn.session, CALLBACKS, &self.conn, OPTIONS) != 0:
            self.conn.session = NULL
            transport.abort()
            return
        settings[0].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH
        settings[0].value = 0
        settings[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        settings[1].value = RECEIVE_WINDOW
        nghttp2_submit_settings(self.conn.session, 0, settings, 2)
        nghttp2_session_set_local_window_size(self.conn.session, 0, 0, CONNECTION_WINDOW)
        self.endpoint.upstream = self
        self.endpoint.failures_in_row = 0
        mark(&self.conn)
        if not self.conn.wire.batch_pending:
            flush_all(self.conn.wire)

    cdef void leave(self) noexcept:
        if self.endpoint.upstream is self:
            self.endpoint.upstream = None
            if self.endpoint.on_lost is not None:
                self.endpoint.on_lost()

    def connection_lost(self, exc):
        cdef Upcall *call
        self.leave()
        self.conn.wire.now = mw_now_ns()
        while self.calls != NULL:
            call = self.calls
            if self.conn.session != NULL:
                nghttp2_session_set_stream_user_data(self.conn.session, call.id, NULL)
            end_call(call, NGHTTP2_NO_ERROR, True)
        Connection.connection_lost(self, exc)
        if not self.listener.wire.batch_pending:
            flush_all(&self.listener.wire)


class BufferedUpstream(Upstream, asyncio.BufferedProtocol):
    __slots__ = ()
