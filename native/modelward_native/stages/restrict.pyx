"""At the message: which step its caller is at, looked up once. A blocked one is refused here.

Before `limit`: what is refused takes nothing from a budget. After `permit`: who may not ask the model is told that first.
"""
from libc.stdint cimport int64_t

from modelward_native.detect.budget cimport budget_step
from modelward_native.detect.held cimport mw_held_take
from modelward_native.detect.policy cimport Policy, policy_for
from modelward_native.detect.suspicion cimport (
    MW_STEP_BLOCK, MW_STEP_DELAY, MW_STEP_OBSERVE, mw_suspect, mw_suspect_blocked_ns, mw_suspect_find, mw_suspect_key,
    mw_suspect_step)
from modelward_native.detect.watch cimport day_of
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport REASON_RESTRICTED, Verdict, over_limit

cdef int64_t RETRY_NS = 60000000000       # where nothing says when the restriction ends


cdef int restrict(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef const Model *m = x.asked
    cdef mw_suspect *s
    if m == NULL or m.policy_count == 0:
        return GO_ON
    x.policy = policy_for(m.policies, m.policy_count, 0 if x.stream.caller == NULL else x.stream.caller.patterns)
    if x.policy == NULL or m.suspicion == NULL:
        return GO_ON
    s = mw_suspect_find(m.suspicion, mw_suspect_key(x.stream.budget, m.suspect_key))
    if s == NULL:
        return GO_ON
    x.suspect = s
    x.step = step_now(m, x.policy, s, now)
    x.would = would_step(m, x.policy, s, now)
    if x.step == MW_STEP_BLOCK:
        restricted_for(v, mw_suspect_blocked_ns(s, now))
        return REFUSE
    if x.step == MW_STEP_DELAY and not (x.streaming and m.pool != NULL):
        x.held = mw_held_take(&server.held, x.stream.budget)
        if x.held == NULL:
            restricted_for(v, x.policy.delay)
            return REFUSE
    return GO_ON


cdef unsigned char step_now(const Model *m, const Policy *p, const mw_suspect *s, int64_t now) noexcept:
    """An operator's choice as it is; of its evidence and its budget no more than the strongest that is taken without a person."""
    if s.pinned:
        return <unsigned char>mw_suspect_step(s, now)
    return worth(m, p, s, now) if p.acts else <unsigned char>MW_STEP_OBSERVE


cdef unsigned char would_step(const Model *m, const Policy *p, const mw_suspect *s, int64_t now) noexcept:
    """What its caller would get if the model acted; nothing where it does, or an operator holds it."""
    return <unsigned char>MW_STEP_OBSERVE if p.acts or s.pinned else worth(m, p, s, now)


cdef unsigned char worth(const Model *m, const Policy *p, const mw_suspect *s, int64_t now) noexcept:
    """Of its evidence and its budget, up to the strongest."""
    cdef int step = mw_suspect_step(s, now)
    if p.budget and m.watching != NULL:
        step = max(step, <int>budget_step(p, s, day_of(m.watching, now)))
    return <unsigned char>min(step, <int>p.strongest)


cdef void restricted_for(Verdict *v, int64_t retry_ns) noexcept:
    over_limit(v, REASON_RESTRICTED, b"", retry_ns if retry_ns > 0 else RETRY_NS)
