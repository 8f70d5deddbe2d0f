"""Requests forwarded to upstreams: which endpoint gets one, when another is asked too, and what becomes of the answer."""
from libc.stdint cimport int64_t, uint32_t

from modelward_native.backend.client cimport MW_CLIENT_LOST, mw_client_next, mw_client_stream
from modelward_native.backend.connection cimport UpstreamConnection, upstream_of
from modelward_native.backend.pool cimport Endpoint, Pool, pool_of
from modelward_native.backend.upstream_call cimport UpstreamCall
from modelward_native.backend.upstream_status cimport blameless
from modelward_native.backend.upstream_stream cimport (
    call_on, complete, is_our_fault, judge_overdue, reset_call, send_call, share_of, unprocessed)
from modelward_native.limits.limit cimport mw_cost_learn
from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport PHASE_UPSTREAM, Exchange, settle
from modelward_native.request.model cimport Model
from modelward_native.request.pipeline cimport answered_upstream, failed, refused_upstream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport CODE_UNAVAILABLE, REASON_BACKEND_FAILED, REASON_OUT_OF_MEMORY, REASON_UPSTREAM_LOST
from modelward_native.timer.deadline cimport mw_timer, timer_add
from modelward_native.wire.headers cimport refuses_us
from modelward_native.wire.transport cimport wheel_of

cdef enum:
    SATURATED = 32                # requests in flight on an endpoint that takes no hedge any more
    RETRIES = 2                   # of one request, within the pool's budget

cdef int64_t HEDGE_SOONEST = 1000000      # ns: a tick of the wheel


cdef bint forward(State server, Exchange *x, Pool pool, Endpoint avoid, int64_t now) noexcept:
    cdef Endpoint endpoint = pool.choose(avoid, x.model, now)
    cdef UpstreamCall *call
    cdef int64_t due
    if endpoint is None:
        return False
    x.attempt += 1
    call = send_call(x, endpoint, now)
    if call == NULL:
        return False
    x.phase = PHASE_UPSTREAM
    x.call = call
    pool.add_budget(part_of(x.payers.identity))
    x.model.counters.queued += 1
    if pool.hedge_share > 0 and endpoint.p95 > 0 and len(pool.endpoints) > 1 and not x.sequence:
        due = now + max(<int64_t>endpoint.p95, HEDGE_SOONEST)
        if pool.hedges_of[part_of(x.payers.identity)] >= 1 and (x.due == 0 or due < x.due):
            timer_add(wheel_of(x.wire), &call.timer, due)
    return True


cdef void on_hedge(mw_timer *timer, int64_t now) noexcept:
    """The endpoint is slower than in 95 of 100 cases: a second one is asked too, and whichever answers first wins."""
    cdef UpstreamCall *call = <UpstreamCall *>timer
    cdef Exchange *x = call.exchange
    cdef Pool pool
    cdef Endpoint slow, other
    if x.phase != PHASE_UPSTREAM or x.call != call or x.hedge != NULL:
        return
    x.wire.now = now
    pool = pool_of(x.model.pool)
    slow = upstream_of(call.upstream).endpoint
    other = pool.choose(slow, x.model, now)
    # a pool that is busy everywhere is slow because it is busy: more of the same requests would make it slower
    if other is None or other is slow or other.inflight >= SATURATED or pool.hedges_of[part_of(x.payers.identity)] < 1:
        return
    x.hedge = send_call(x, other, now)
    if x.hedge != NULL:
        pool.hedges_of[part_of(x.payers.identity)] -= 1
        slow.hedges += 1


cdef void cancel_call(Exchange *x) noexcept:
    cdef UpstreamCall *call = x.call
    cdef UpstreamCall *hedge = x.hedge
    x.call = NULL
    x.hedge = NULL
    # the endpoint may still be working on it: a client that gives up gets no refund
    if call != NULL:
        settle(x, max(x.predicted, share_of(call, upstream_of(call.upstream).endpoint.to_answer() - 1, x.wire.now)))
    if call != NULL and x.due and x.wire.now >= x.due:
        judge_overdue(call, x.wire.now)
    if call != NULL:
        reset_call(call)
    if hedge != NULL:
        reset_call(hedge)


# ---- what a call has brought -----------------------------------------------------------------------------------

cdef void conclude_call(State server, UpstreamCall *call, uint32_t error, Endpoint endpoint, int64_t now) noexcept:
    cdef Exchange *x = call.exchange
    cdef Model *m = x.model
    cdef UpstreamCall *overtaken
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
        upstream_of(overtaken.upstream).endpoint.measure_at_least(now - overtaken.started, now)
        settle(x, share)
        cancel_call(x)
    if answered:
        mw_cost_learn(m.costs, x.body.size, share)
        m.counters.runs += 1
        m.counters.rows += x.rows
        m.counters.compute_ns += now - call.started
    elif may_be_asked_again(call, error) and retry(server, x, endpoint, now):
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
        failed(server, x, REASON_UPSTREAM_LOST if error == MW_CLIENT_LOST else REASON_BACKEND_FAILED, NULL, now)


cdef bint retry(State server, Exchange *x, Endpoint avoided, int64_t now) noexcept:
    """Another endpoint, within the budget and before the deadline."""
    cdef Model *m = x.model
    cdef Pool pool = pool_of(m.pool)
    if x.retries >= RETRIES or not pool.may_retry(part_of(x.payers.identity)) or (x.due and x.due <= now):
        return False
    x.retries += 1
    if not forward(server, x, pool, avoided, now):
        return False
    pool.spend_retry(part_of(x.payers.identity))
    avoided.retries += 1
    return True


cdef bint may_be_asked_again(const UpstreamCall *call, uint32_t error) noexcept:
    """A status says that the request has failed, not that nothing was done: that is not enough for requests of a sequence."""
    cdef const Exchange *x = call.exchange
    if unprocessed(call, error):
        return True
    if x.sequence:
        return False
    return call.stream.grpc_status == CODE_UNAVAILABLE or unwelcome(call) or (error == MW_CLIENT_LOST and resendable(x))


cdef bint resendable(const Exchange *x) noexcept:
    """Whether an upstream may be asked what another may have done already. Requests of a sequence change what comes after."""
    return pool_of(x.model.pool).resends and not x.sequence


cdef bint unwelcome(const UpstreamCall *call) noexcept:
    """Another endpoint may take what this one refuses because it is we who ask."""
    cdef const Exchange *x = call.exchange
    return is_our_fault(x.wire, call.stream.grpc_status) and refuses_us(
        x.stream, call.stream.grpc_status, upstream_of(call.upstream).endpoint.proven)


# ---- endpoints that are silent ---------------------------------------------------------------------------------

cdef bint resend_all(UpstreamConnection upstream, int64_t now) noexcept:
    cdef int64_t before = <int64_t>upstream.endpoint.retries
    cdef mw_client_stream *stream = mw_client_next(upstream.client, NULL)
    while stream != NULL:
        if call_on(stream) != NULL:
            resend(call_on(stream), now)    # on another connection: no stream of this one is opened or closed
        stream = mw_client_next(upstream.client, stream)
    return <int64_t>upstream.endpoint.retries != before


cdef void resend(UpstreamCall *call, int64_t now) noexcept:
    cdef Exchange *x = call.exchange
    cdef Endpoint stuck = upstream_of(call.upstream).endpoint, other
    cdef Pool pool
    if x.phase != PHASE_UPSTREAM or x.call != call or x.hedge != NULL or not resendable(x):
        return
    pool = pool_of(x.model.pool)
    if x.retries >= RETRIES or not pool.may_retry(part_of(x.payers.identity)):
        return
    other = pool.choose(stuck, x.model, now)
    if other is None or other is stuck or other.silent():
        return
    x.hedge = send_call(x, other, now)
    if x.hedge != NULL:
        x.retries += 1
        pool.spend_retry(part_of(x.payers.identity))
        stuck.retries += 1
