"""The upstream side: requests forwarded as the bytes they came as, over one multiplexed connection per endpoint."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset, strlen

import asyncio

from modelward_native.backend.upstream_call cimport Upcall
from modelward_native.backend.breaker cimport MW_OUTCOME_BAD, MW_OUTCOME_GOOD, MW_OUTCOME_NONE, mw_outcome
from modelward_native.backend.client cimport *
from modelward_native.timer.deadline cimport MW_TICK_NS, mw_timer, mw_timer_due_ns, mw_timer_init, timer_add, timer_cancel
from modelward_native.request.caller cimport CALLERS, part_of
from modelward_native.request.exchange cimport PHASE_UPSTREAM, Conn, Exchange, Wire, exchange_unref, settle
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.holding cimport pay_for
from modelward_native.wire.grpc cimport write_prefix
from modelward_native.wire.headers cimport keep_passed_back, refuses_us
from modelward_native.wire.h2 cimport Connection, Listener, close_soon, flush_all
from modelward_native.limits.limit cimport mw_cost_learn
from modelward_native.request.model cimport Model
from modelward_native.wire.nghttp2 cimport NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM
from modelward_native.request.pipeline cimport answered_upstream, failed, refused_upstream
from modelward_native.wire.outgoing cimport FIELDS, Outgoing, request_fields
from modelward_native.backend.pool cimport Endpoint, Pool
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.request.state cimport State
from modelward_native.wire.stream cimport grow_beside, mark, release
from modelward_native.request.verdict cimport (
    CODE_DEADLINE_EXCEEDED, CODE_PERMISSION_DENIED, CODE_UNAUTHENTICATED, CODE_UNAVAILABLE, REASON_BACKEND_FAILED,
    REASON_OUT_OF_MEMORY)

cdef enum:
    RECEIVE_WINDOW = 1048576      # of one answer
    CONNECTION_WINDOW = 16777216
    SATURATED = 32                # requests in flight on an endpoint that takes no hedge any more
    PINGS = 3                     # answered ones, with nothing between them, after which the next comes no sooner than in:
    LONGEST_DOUBLING = 5          # doublings of KEEPALIVE, 320 s
    RETRIES = 2                   # of one request, within the pool's budget
    SPARE_CALLS = 4096
    TEXT_BYTES = 8192             # of grpc-message and of the status details
    PING_SHARE = 2                # a PING is waited for half as long as an answer: it costs its server nothing

cdef int64_t SECOND = 1000000000
cdef int64_t KEEPALIVE = 10 * SECOND
cdef int64_t PING_TIMEOUT = 5 * SECOND
cdef int64_t HEDGE_SOONEST = 1000000      # ns: a tick of the wheel
cdef Upcall *SPARE = NULL         # ended calls for reuse, chained by next; the loop's thread alone
cdef int SPARES = 0


# ---- forwarding ----------------------------------------------------------------------------------------------

cdef ssize_t read_body(mw_client_stream *stream, uint8_t *to, size_t room, bint *end) noexcept:
    cdef Upcall *call = <Upcall *>stream.owner
    cdef const Buffer *body = &call.exchange.body
    cdef size_t n = 0
    n += part(call, to, room, 0, call.prefix, 5)
    n += part(call, to + n, room - n, 5, body.data, body.size)
    n += part(call, to + n, room - n, 5 + body.size, call.suffix, call.suffix_size)
    end[0] = call.sent == 5 + body.size + call.suffix_size
    return n


cdef size_t part(Upcall *call, uint8_t *to, size_t room, size_t start, const uint8_t *data, size_t size) noexcept:
    """What is still to be sent of one of the parts, as far as there is room."""
    cdef size_t n
    if call.sent < start or call.sent >= start + size:
        return 0
    n = min(room, start + size - call.sent)
    memcpy(to, data + (call.sent - start), n)
    call.sent += n
    return n


cdef void name_model(Upcall *call, const Model *m) noexcept:
    """In protobuf the last of a field's values counts. A fallback's version is any; a shadow's is its own, where it has one."""
    cdef size_t version = m.version.size if call.exchange.mirrors != NULL else 0
    call.suffix[0] = 0x0A
    if m.name.size > 127:
        call.suffix[1] = <uint8_t>(m.name.size & 127) | 128
        call.suffix[2] = <uint8_t>(m.name.size >> 7)
        call.suffix_size = 3
    else:
        call.suffix[1] = <uint8_t>m.name.size
        call.suffix_size = 2
    memcpy(call.suffix + call.suffix_size, m.name.data, m.name.size)
    call.suffix_size += m.name.size
    call.suffix[call.suffix_size] = 0x12
    call.suffix[call.suffix_size + 1] = <uint8_t>version
    memcpy(call.suffix + call.suffix_size + 2, m.version.data, version)
    call.suffix_size += 2 + version


cdef Upcall *call_new() noexcept:
    """Zeroed; NULL for want of memory."""
    global SPARE, SPARES
    cdef Upcall *call = SPARE
    if call == NULL:
        return <Upcall *>calloc(1, sizeof(Upcall))
    SPARE = call.next
    SPARES -= 1
    memset(call, 0, sizeof(Upcall))
    return call


cdef void call_free(Upcall *call) noexcept:
    global SPARE, SPARES
    if SPARES == SPARE_CALLS:
        free(call)
        return
    call.next = SPARE
    SPARE = call
    SPARES += 1


cdef Upcall *send_call(Exchange *x, Endpoint endpoint, int64_t now) noexcept:
    """One more request on its way for the exchange's present attempt; NULL for want of memory."""
    cdef Upstream upstream = <Upstream>endpoint.upstream
    cdef Upcall *call = call_new()
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
    write_prefix(call.prefix, False, <uint32_t>(x.body.size + call.suffix_size))
    mw_timer_init(&call.timer, <void (*)(mw_timer *, int64_t) noexcept nogil>on_hedge)
    outgoing.metadata = &x.stream.metadata if x.stream != NULL else NULL
    outgoing.shadow = x.mirrors != NULL or x.mirrored
    outgoing.due = x.due
    outgoing.who = x
    outgoing.entered = x.entered
    outgoing.attempt = (<int64_t>x.attempt << 1) + (x.call != NULL)
    if mw_client_submit(upstream.conn.client, &call.stream, "/inference.GRPCInferenceService/ModelInfer", 42, fields,
                        request_fields(&outgoing, now, fields)) < 0:
        call_free(call)
        return NULL
    x.references += 1
    if upstream.calls == 0:
        upstream.began = now
    upstream.calls += 1
    call.trial = endpoint.take(now)
    listen_for(upstream, now)
    mark(&upstream.conn)
    return call


cdef bint forward(State server, Exchange *x, Pool pool, Endpoint avoid, int64_t now) noexcept:
    cdef Endpoint endpoint = pool.choose(avoid, now)
    cdef Upcall *call
    cdef int64_t due
    if endpoint is None:
        return False
    x.attempt += 1
    call = send_call(x, endpoint, now)
    if call == NULL:
        return False
    x.phase = PHASE_UPSTREAM
    x.call = call
    pool.earn(part_of(x.payers.identity))
    x.model.counters.queued += 1
    if pool.hedge_share > 0 and endpoint.p95 > 0 and len(pool.endpoints) > 1 and not x.sequence:
        due = now + max(<int64_t>endpoint.p95, HEDGE_SOONEST)
        if pool.hedges_of[part_of(x.payers.identity)] >= 1 and (x.due == 0 or due < x.due):
            timer_add(server.listener.wheel, &call.timer, due)
    return True


cdef void on_hedge(mw_timer *timer, int64_t now) noexcept:
    """The endpoint is slower than in 95 of 100 cases: a second one is asked too, and whichever answers first wins."""
    cdef Upcall *call = <Upcall *>timer
    cdef Exchange *x = call.exchange
    cdef Pool pool
    cdef Endpoint slow, other
    if x.phase != PHASE_UPSTREAM or x.call != call or x.hedge != NULL:
        return
    x.wire.now = now
    pool = <Pool>x.model.pool
    slow = (<Upstream>call.upstream).endpoint
    other = pool.choose(slow, now)
    # a pool that is busy everywhere is slow because it is busy: more of the same requests would make it slower
    if other is None or other is slow or other.inflight >= SATURATED or pool.hedges_of[part_of(x.payers.identity)] < 1:
        return
    x.hedge = send_call(x, other, now)
    if x.hedge != NULL:
        pool.hedges_of[part_of(x.payers.identity)] -= 1
        slow.hedges += 1


cdef void reset_call(Upcall *call) noexcept:
    cdef Upstream upstream = <Upstream>call.upstream
    mw_client_reset(upstream.conn.client, &call.stream, NGHTTP2_CANCEL)
    mark(&upstream.conn)


cdef int64_t share_of(const Upcall *call, uint32_t beside, int64_t now) noexcept:
    """What of its endpoint's time a call has taken: its time there, shared with those who were there too.

    In a queue of equals that comes to what one of them takes, however long it was: waiting costs nothing. How many they were is
    the mean of those at its beginning and those now, `beside` it.
    """
    return time_share(now - call.started, call.beside, beside)


cdef int64_t time_share(int64_t span, uint32_t before, uint32_t beside) noexcept:
    return 2 * span // (<int64_t>before + beside + 2)


cdef void judge_call(Upcall *call, mw_outcome outcome, int64_t now, bint answered=True) noexcept:
    """Once per call: what is known first counts. answered: by the server itself, which what was sent may have to do with."""
    if not call.judged:
        call.judged = True
        (<Upstream>call.upstream).endpoint.judge(
            call.trial, part_of(call.exchange.payers.identity) if answered else <uint32_t>CALLERS, outcome, call.pool, now)


cdef void judge_overdue(Upcall *call, int64_t now) noexcept:
    """A deadline that the endpoint usually keeps has passed: that is how a frozen one shows. No client can have an endpoint
    ejected by asking for the impossible."""
    cdef Endpoint endpoint = (<Upstream>call.upstream).endpoint
    if now - call.started > 2 * endpoint.latency:
        judge_call(call, MW_OUTCOME_BAD, now)
        endpoint.note(-1, "no answer before a deadline that it usually keeps")
        endpoint.outlast(now - call.started, now)


cdef void cancel_call(Exchange *x) noexcept:
    cdef Upcall *call = x.call
    cdef Upcall *hedge = x.hedge
    x.call = NULL
    x.hedge = NULL
    # nobody knows whether the endpoint has stopped: giving up is no way to a refund
    if call != NULL:
        settle(x, max(x.predicted, share_of(call, (<Upstream>call.upstream).endpoint.to_answer() - 1, x.wire.now)))
    if call != NULL and x.due and x.wire.now >= x.due:
        judge_overdue(call, x.wire.now)
    if call != NULL:
        reset_call(call)
    if hedge != NULL:
        reset_call(hedge)


cdef bint complete(const Upcall *call) noexcept:
    """Exactly one uncompressed message."""
    cdef const uint8_t *p = call.answer.data
    if call.answer.size < 5 or p[0] != 0:
        return False
    return call.answer.size - 5 == ((<uint32_t>p[1] << 24) | (<uint32_t>p[2] << 16) | (<uint32_t>p[3] << 8) | p[4])


cdef bint retry(State server, Exchange *x, Endpoint failed, int64_t now) noexcept:
    """Another endpoint, within the budget and before the deadline."""
    cdef Model *m = x.model
    cdef Pool pool = <Pool>m.pool
    if x.retries >= RETRIES or not pool.may_retry(part_of(x.payers.identity)) or (x.due and x.due <= now):
        return False
    x.retries += 1
    if not forward(server, x, pool, failed, now):
        return False
    pool.spend_retry(part_of(x.payers.identity))
    failed.retries += 1
    return True


cdef bint unprocessed(const Upcall *call, uint32_t error) noexcept:
    """The upstream says so, or has not been sent a byte of the message."""
    return error == NGHTTP2_REFUSED_STREAM or call.sent == 0


cdef bint resendable(const Exchange *x) noexcept:
    """Whether an upstream may be asked what another may have done already. Requests of a sequence change what comes after."""
    return (<Pool>x.model.pool).resends and not x.sequence


cdef void conclude_call(State server, Upcall *call, uint32_t error, Endpoint endpoint, int64_t now) noexcept:
    """What a call that is still waited for has brought."""
    cdef Exchange *x = call.exchange
    cdef Model *m = x.model
    cdef Upcall *overtaken
    cdef bint answered = call.stream.http_status == 200 and call.stream.grpc_status == 0 and complete(call)
    cdef int64_t share = share_of(call, endpoint.to_answer(), now)
    if x.call == call:
        x.call = NULL
    else:
        x.hedge = NULL
    if x.call != NULL or x.hedge != NULL:
        if not answered and not (call.stream.grpc_status > 0 and blameless(call.stream.grpc_status)):
            return                # the other one may still answer
        overtaken = x.call if x.call != NULL else x.hedge
        (<Upstream>overtaken.upstream).endpoint.outlast(now - overtaken.started, now)
        settle(x, share)
        cancel_call(x)
    if answered:
        mw_cost_learn(m.costs, x.body.size, share)
        m.counters.runs += 1
        m.counters.rows += x.rows
        m.counters.compute_ns += now - call.started
    elif (unprocessed(call, error) or call.stream.grpc_status == CODE_UNAVAILABLE or (
            error == MW_CLIENT_LOST and resendable(x)) or unwelcome(call)) and retry(server, x, endpoint, now):
        return
    if answered or not unprocessed(call, error):
        settle(x, share)
    if answered:
        answered_upstream(server, x, &call.answer, &call.initial, &call.ending, now)
    elif call.too_large:
        failed(server, x, REASON_OUT_OF_MEMORY, NULL, now)
    elif call.stream.grpc_status > 0:
        refused_upstream(server, x, call.stream.grpc_status, endpoint.proven, &call.initial, &call.ending, now)
    else:
        failed(server, x, REASON_BACKEND_FAILED, NULL, now)


cdef bint is_our_fault(const Wire *wire, int status) noexcept:
    """Whether that the upstream refuses us is evidence against it: where clients' credentials are checked here and not passed
    on, no client can cause it."""
    return status == CODE_UNAUTHENTICATED and wire.access != NULL and not wire.keep_credentials


cdef bint unwelcome(const Upcall *call) noexcept:
    """Another endpoint may take what this one refuses because it is we who ask."""
    cdef const Exchange *x = call.exchange
    return is_our_fault(x.wire, call.stream.grpc_status) and refuses_us(
        x.stream, call.stream.grpc_status, (<Upstream>call.upstream).endpoint.proven)


cdef void judge_refusal(Upcall *call, int status, int64_t now) noexcept:
    cdef Upstream upstream = <Upstream>call.upstream
    if is_our_fault(upstream.conn.wire, status):
        judge_call(call, MW_OUTCOME_BAD, now)
    else:
        judge_call(call, MW_OUTCOME_NONE, now)
        upstream.endpoint.failures += 1
    note_failure(upstream.endpoint, &call.stream, 0, call.ending.message)


cdef void note_failure(Endpoint endpoint, const mw_client_stream *stream, uint32_t error, const char *message) noexcept:
    cdef char text[64]
    if stream.http_status == 200 and stream.grpc_status > 0:
        if message == NULL:
            message = ""
        endpoint.note(stream.grpc_status, message)
        return
    if error == MW_CLIENT_LOST:
        snprintf(text, sizeof(text), "its connection was lost")
    elif stream.http_status > 0 and stream.http_status != 200:
        snprintf(text, sizeof(text), "HTTP status %d", stream.http_status)
    elif error:
        snprintf(text, sizeof(text), "it reset the request, HTTP/2 error %u", error)
    else:
        snprintf(text, sizeof(text), "its answer was not one of gRPC")
    endpoint.note(-1, text)


cdef void end_call(mw_client_stream *stream, uint32_t error) noexcept:
    """The stream has closed, or its connection has gone: what it brought goes to the exchange, if that still waits."""
    cdef Upcall *call = <Upcall *>stream.owner
    cdef Upstream upstream = <Upstream>call.upstream
    cdef Endpoint endpoint = upstream.endpoint
    cdef State server = <State>upstream.conn.wire.server
    cdef Exchange *x = call.exchange
    cdef int64_t now = upstream.conn.wire.now
    cdef bint waiting = x.phase == PHASE_UPSTREAM and x.attempt == call.attempt and (
        x.call == call or x.hedge == call)
    cdef bint good
    read_http_refusal(stream, &call.ending.message)
    good = error != MW_CLIENT_LOST and stream.http_status == 200 and blameless(stream.grpc_status) and (
        stream.grpc_status > 0 or complete(call))
    timer_cancel(server.listener.wheel, &call.timer)
    upstream.calls -= 1
    endpoint.give_back()
    # what a GOAWAY sends back says nothing of the next connection, an answer that we had no room for nothing of the server
    if good and stream.grpc_status > 0 and refuses_us(x.stream, stream.grpc_status, endpoint.proven):
        judge_refusal(call, stream.grpc_status, now)
    elif good:
        judge_call(call, MW_OUTCOME_GOOD, now)
        endpoint.measure(now - call.started, now)
    elif waiting and not call.too_large and not hurried(call, now) and not (
            unprocessed(call, error) and endpoint.upstream is not upstream):
        judge_call(call, MW_OUTCOME_BAD, now, error != MW_CLIENT_LOST)
        note_failure(endpoint, stream, error, call.ending.message)
    else:
        judge_call(call, MW_OUTCOME_NONE, now)
    if waiting:
        conclude_call(server, call, error, endpoint, now)
    elif call.answer.size:
        x.model.counters.late += 1
    release(upstream.conn.wire, &call.answer)
    free(call.initial.data)
    free(call.ending.message)
    free(call.ending.details)
    free(call.ending.metadata.data)
    exchange_unref(x)
    call_free(call)


cdef void read_http_refusal(mw_client_stream *stream, char **message) noexcept:
    """What asks for a credential before the server may know no gRPC: its 401 or 403 becomes the status that stands for it."""
    cdef char text[64]
    if stream.grpc_status >= 0 or (stream.http_status != 401 and stream.http_status != 403):
        return
    snprintf(text, sizeof(text), "the upstream answered with HTTP status %d", stream.http_status)
    if message[0] == NULL:
        message[0] = copied(<const uint8_t *>text, strlen(text))
    stream.grpc_status = CODE_UNAUTHENTICATED if stream.http_status == 401 else CODE_PERMISSION_DENIED
    stream.http_status = 200


cdef bint hurried(const Upcall *call, int64_t now) noexcept:
    """The endpoint has said itself that the time was up, which its client had made too short: see judge_overdue."""
    return call.stream.grpc_status == CODE_DEADLINE_EXCEEDED and now - call.started <= 2 * (
        <Upstream>call.upstream).endpoint.latency


cdef bint blameless(int status) noexcept:
    """Statuses that say nothing against the endpoint: the answer itself, and what the request is to blame for."""
    return status in (0, 1, 3, 5, 6, 7, 9, 11, 16)


# ---- what an answer brings -------------------------------------------------------------------------------------

cdef char *copied(const uint8_t *value, size_t size) noexcept:
    cdef char *text = <char *>malloc(size + 1)
    if text != NULL:
        memcpy(text, value, size)
        text[size] = 0
    return text


cdef int on_field(mw_client_stream *stream, const uint8_t *name, size_t name_size, const uint8_t *value, size_t size) noexcept:
    cdef Upcall *call = <Upcall *>stream.owner
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
    cdef Upcall *call = <Upcall *>stream.owner
    cdef Conn *c = &(<Upstream>call.upstream).conn
    cdef Wire *wire = c.wire
    mw_client_consume(c.client, stream, size)
    mw_client_consume(c.client, NULL, size)
    if call.too_large or call.exchange.attempt != call.attempt:
        return
    pay_for(&call.answer, call.exchange.body.holder)
    if call.answer.size + size > wire.message_size + 5 or (call.answer.size + size > call.answer.capacity and grow_beside(
            wire, &call.answer, max(call.answer.size + size, min(2 * call.answer.capacity, wire.message_size + 5))) < 0):
        call.too_large = True
        mw_client_reset(c.client, stream, NGHTTP2_CANCEL)
        return
    memcpy(call.answer.data + call.answer.size, data, size)
    call.answer.size += size


cdef void hear(Upstream upstream) noexcept:
    """A pause ends with the first frame of an answer that a read event brings."""
    cdef int64_t now = upstream.conn.active
    if upstream.heard == now:
        return
    if upstream.calls:
        upstream.endpoint.paused(now - max(upstream.heard, upstream.began))
    upstream.heard = now
    upstream.pings = 0


cdef void on_frame(mw_client_stream *stream, bint headers, bint end) noexcept:
    cdef Upcall *call = <Upcall *>stream.owner
    hear(<Upstream>call.upstream)
    if not headers or call.opened:
        return
    call.opened = stream.http_status >= 200
    if not call.opened:
        call.initial.size = 0     # an interim response's is of no answer
    elif end:                     # the only block: these are trailers
        call.ending.metadata = call.initial
        memset(&call.initial, 0, sizeof(Buffer))


cdef void on_greeted(void *context) noexcept:
    cdef Upstream upstream = <Upstream>context
    upstream.conn.handshaken = True
    upstream.join()


cdef void on_pong(void *context) noexcept:
    cdef Upstream upstream = <Upstream>context
    if upstream.heard < upstream.pinged:
        upstream.pings = min(upstream.pings + 1, PINGS)
    upstream.pinged = 0


cdef void on_goaway(void *context) noexcept:
    """It finishes what it has begun; what comes next goes over a new connection."""
    (<Upstream>context).leave()


cdef mw_client_calls CALLS
CALLS.read = read_body
CALLS.field = on_field
CALLS.data = on_data
CALLS.frame = on_frame
CALLS.closed = end_call

cdef mw_client_hooks HOOKS
HOOKS.greeted = on_greeted
HOOKS.pong = on_pong
HOOKS.goaway = on_goaway


# ---- the connection ------------------------------------------------------------------------------------------

cdef class Upstream(Connection):
    """asyncio.BufferedProtocol of one upstream connection."""

    def __init__(self, Listener listener, Endpoint endpoint):
        self.endpoint = endpoint
        mw_timer_init(&self.conn.timer, <void (*)(mw_timer *, int64_t) noexcept nogil>on_keepalive)

    def __dealloc__(self):
        mw_client_free(self.conn.client)

    def connection_made(self, transport):
        cdef bytes authority = self.endpoint.authority
        self.transport = transport
        self.conn.opened = mw_now_ns()
        self.conn.active = self.conn.opened
        secure = transport.get_extra_info("sslcontext") is not None
        if not secure:
            socket = transport.get_extra_info("socket")
            self.conn.fd = socket.fileno() if socket is not None else -1
        self.conn.client = mw_client_new(
            &HOOKS, <void *>self, authority, len(authority), secure, RECEIVE_WINDOW, CONNECTION_WINDOW)
        if self.conn.client == NULL:
            transport.abort()
            return
        timer_add(self.listener.wheel, &self.conn.timer, self.conn.opened + KEEPALIVE)
        mark(&self.conn)
        if not self.conn.wire.batch_pending:
            flush_all(self.conn.wire)

    def buffer_updated(self, Py_ssize_t size):
        cdef Conn *c = &self.conn
        cdef Wire *wire = c.wire
        if c.client == NULL or c.closing:
            return
        wire.now = mw_now_ns()
        c.active = wire.now
        mark(c)
        if mw_client_receive(c.client, self.listener.read_buffer, size) < 0:
            self.leave()
            flush_all(wire)
            if self.transport is not None:
                close_soon(c)
            return
        if not wire.batch_pending:
            flush_all(wire)

    def pause_writing(self):
        """Answers are read on: an upstream that waits for them to be taken would never read what it is sent."""
        self.conn.paused = True
        self.conn.stalled = self.conn.wire.now

    cdef void join(self) noexcept:
        """The server has spoken. The kernel accepts connections for one that is frozen, too."""
        self.endpoint.upstream = self
        self.endpoint.joins += 1
        self.endpoint.restored = max(self.endpoint.restored, self.conn.active)
        if self.endpoint.on_ready is not None:
            self.endpoint.on_ready()

    cdef void leave(self) noexcept:
        if self.endpoint.upstream is self:
            self.endpoint.upstream = None
        elif self.conn.handshaken:
            return                # it has left before
        if self.endpoint.on_lost is not None:
            self.endpoint.on_lost()

    def connection_lost(self, exc):
        self.leave()
        self.conn.wire.now = mw_now_ns()
        if self.conn.client != NULL:
            mw_client_lose(self.conn.client)
        Connection.connection_lost(self, exc)
        mw_client_free(self.conn.client)
        self.conn.client = NULL
        if not self.listener.wire.batch_pending:
            flush_all(&self.listener.wire)


cdef int64_t given_up(Upstream upstream) noexcept:
    """When a connection whose PING is not answered ends. A server may be too busy: that it was asked early does not shorten its
    time."""
    return max(upstream.pinged, max(upstream.conn.active, upstream.began) + KEEPALIVE) + PING_TIMEOUT


cdef int64_t next_check(Upstream upstream, int64_t now) noexcept:
    """When its silence is next to be looked into, if it lasts.

    gRPC servers count pings between which they sent nothing, and close after three in five minutes but the first (gRFC A8):
    only the first comes early, and each that was all that came makes the next wait twice as long.
    """
    cdef int64_t since = max(upstream.conn.active, upstream.began)
    if upstream.pinged:
        return min(upstream.resent + upstream.endpoint.patience() // PING_SHARE, given_up(upstream))
    if upstream.calls and upstream.pings == 0:
        return since + upstream.endpoint.patience()
    if mw_client_busy(upstream.conn.client):
        return since + (KEEPALIVE << (upstream.pings if upstream.pings < PINGS else LONGEST_DOUBLING))
    return now + KEEPALIVE


cdef void listen_for(Upstream upstream, int64_t now) noexcept:
    """A request is on its way: whether anything comes is looked at in time. Touches the wheel once per patience at most."""
    cdef int64_t due = next_check(upstream, now)
    if mw_timer_due_ns(&upstream.conn.timer) > due + 2 * MW_TICK_NS:
        timer_cancel(upstream.listener.wheel, &upstream.conn.timer)
        timer_add(upstream.listener.wheel, &upstream.conn.timer, due)


cdef void on_keepalive(mw_timer *timer, int64_t now) noexcept:
    """Silence while requests wait. First the endpoint is asked for a sign of life and gets no requests until it gives one, then
    what it has is sent elsewhere where that is wanted, and in the end its connection is given up."""
    cdef Conn *c = <Conn *>timer
    cdef Upstream upstream = <Upstream>c.owner
    cdef int64_t due
    if c.client == NULL:
        return
    c.wire.now = now
    if c.paused and now - c.stalled >= c.wire.stall_timeout:
        upstream.transport.abort()
        return
    if upstream.pinged and c.active >= upstream.pinged:
        upstream.pinged = 0       # not the answer, but a sign of life
    due = next_check(upstream, now)
    if now < due:
        upstream.doubted = False
        timer_add(upstream.listener.wheel, timer, due)
        return
    if not upstream.doubted:
        # timers come before sockets: after a pause of our own the bytes may be there and not read yet
        upstream.doubted = True
        timer_add(upstream.listener.wheel, timer, now + MW_TICK_NS)
        return
    upstream.doubted = False
    if not upstream.pinged:
        mw_client_ping(c.client)
        upstream.pinged = now
        upstream.resent = now
        upstream.mute = False
        upstream.endpoint.suspected = now
        upstream.endpoint.silences += 1
        mark(c)
    elif now < given_up(upstream):
        upstream.resent = now
        if (resend_all(upstream, now) or now - upstream.pinged >= SECOND) and not upstream.mute:
            upstream.mute = True
            upstream.endpoint.unanswered += 1
    else:
        upstream.transport.abort()
        return
    timer_add(upstream.listener.wheel, timer, next_check(upstream, now))


cdef bint resend_all(Upstream upstream, int64_t now) noexcept:
    """Everything that waits for an endpoint that does not even answer a PING is asked of another one too, once there is one.
    Whether anything was."""
    cdef int64_t before = <int64_t>upstream.endpoint.retries
    cdef mw_client *client = upstream.conn.client
    cdef mw_client_stream *stream = mw_client_next(client, NULL)
    while stream != NULL:
        if stream.calls == &CALLS:
            resend(<Upcall *>stream.owner, now)    # on another connection: no stream of this one is opened or closed
        stream = mw_client_next(client, stream)
    return <int64_t>upstream.endpoint.retries != before


cdef void resend(Upcall *call, int64_t now) noexcept:
    cdef Exchange *x = call.exchange
    cdef Endpoint stuck = (<Upstream>call.upstream).endpoint, other
    cdef Pool pool
    if x.phase != PHASE_UPSTREAM or x.call != call or x.hedge != NULL or not resendable(x):
        return
    pool = <Pool>x.model.pool
    if x.retries >= RETRIES or not pool.may_retry(part_of(x.payers.identity)):
        return
    other = pool.choose(stuck, now)
    if other is None or other is stuck or other.silent():
        return
    x.hedge = send_call(x, other, now)
    if x.hedge != NULL:
        x.retries += 1
        pool.spend_retry(part_of(x.payers.identity))
        stuck.retries += 1


class BufferedUpstream(Upstream, asyncio.BufferedProtocol):
    __slots__ = ()
