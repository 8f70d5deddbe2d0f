"""At the message: rates and budgets. All levels are checked before any is charged."""
from libc.stdint cimport int64_t

from modelward_native.limits.limit cimport (
    MW_ADMITTED, MW_COST_LEAST_NS, MW_LEVEL_IDENTITY, MW_LEVEL_MODEL, MW_LEVEL_PEER, Limiter, Payers, mw_cost_predict, mw_level,
    mw_meter)
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport (
    REASON_IDENTITY_LIMIT, REASON_MODEL_LIMIT, REASON_PEER_LIMIT, REASON_TOTAL_LIMIT, Verdict, over_limit)
from modelward_native.wire.packed cimport Packed

cdef int64_t UNREAD_NS = 100000           # of backend time, charged for a cold call or an unread message


cdef int limit(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef Limiter limiter = server.listener.limiter
    cdef Model *m = x.asked
    cdef int64_t retry = 0
    cdef int level
    x.predicted = MW_COST_LEAST_NS if m == NULL else mw_cost_predict(m.costs, size_of(x))
    x.share = x.predicted / (1.0 if x.stream.caller == NULL else <double>x.stream.caller.weight)
    # all versions share one cell: the limit is the model's
    pays(&x.payers, x.stream, &m.limit if m != NULL and m.limit.rate.interval_ns else NULL)
    if x.payers.model == NULL and not server.limited:
        return GO_ON
    level = limiter.admit(&x.payers, 1, x.predicted, now, &retry)
    if level == MW_ADMITTED:
        x.unsettled = limiter.timed or (x.payers.model != NULL and x.payers.model.rate.timed)
        return GO_ON
    over(server, v, level, x.stream, m, retry)
    return REFUSE


cdef inline size_t size_of(const Exchange *x) noexcept:
    """Bytes of the message, as far as they are known: a compressed one is not inflated yet."""
    cdef const Packed *packed = x.stream.packed
    if packed == NULL:
        return x.body.size
    return packed.work.allowed if packed.work.exact else packed.body.size


cdef inline void pays(Payers *payers, const Stream *s, mw_meter *model) noexcept:
    payers.peer = s.peer
    payers.peer_limit = s.peer_limit
    payers.identity = s.budget
    payers.shared_key = s.shared_key
    payers.identity_limit = 0 if s.caller == NULL else s.caller.limit
    payers.model = model


cdef void over(State server, Verdict *v, int level, const Stream *s, const Model *m, int64_t retry) noexcept:
    cdef Limiter limiter = server.listener.limiter
    server.callers.note_refusal(s, <mw_level>level, s.conn.wire.now)
    if level == MW_LEVEL_PEER:
        over_limit(v, REASON_PEER_LIMIT, limiter.limit_of(MW_LEVEL_PEER, s.peer_limit).text, retry)
    elif level == MW_LEVEL_IDENTITY:
        over_limit(v, REASON_IDENTITY_LIMIT,
                   limiter.limit_of(MW_LEVEL_IDENTITY, 0 if s.caller == NULL else s.caller.limit).text, retry)
    elif level == MW_LEVEL_MODEL:
        over_limit(v, REASON_MODEL_LIMIT, m.limit_text, retry)
    else:
        over_limit(v, REASON_TOTAL_LIMIT, limiter.total.text, retry)


cdef bint charge(State server, const Stream *s, Verdict *v) noexcept:
    cdef Payers payers
    cdef int64_t retry = 0
    cdef int level
    if not server.limited:
        return True
    pays(&payers, s, NULL)
    level = server.listener.limiter.admit(&payers, 1, UNREAD_NS, s.conn.wire.now, &retry)
    if level != MW_ADMITTED:
        over(server, v, level, s, NULL, retry)
    return level == MW_ADMITTED


cdef void charge_unread(State server, const Stream *s, int64_t now) noexcept:
    """As much as for a message that is not compressed and names no model."""
    cdef Payers payers
    cdef int64_t retry = 0
    if server.limited:
        pays(&payers, s, NULL)
        server.listener.limiter.admit(&payers, 1, MW_COST_LEAST_NS, now, &retry)


cdef bint may_ask(State server, const Stream *s, Verdict *v, int64_t now) noexcept:
    cdef Payers payers
    cdef int64_t retry = 0
    cdef int level
    if not server.limited:
        return True
    pays(&payers, s, NULL)
    level = server.listener.limiter.would_admit(&payers, 1, MW_COST_LEAST_NS, now, &retry)
    if level != MW_ADMITTED:
        over(server, v, level, s, NULL, retry)
    return level == MW_ADMITTED
