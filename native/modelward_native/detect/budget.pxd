# What an identity has spent of its budget of rows, as a step.
from libc.stdint cimport uint16_t, uint32_t

from modelward_native.detect.policy cimport Policy
from modelward_native.detect.suspicion cimport (
    MW_STEP_FALLBACK, MW_STEP_OBSERVE, MW_STEP_ROUND, MW_STEP_TOP_CLASS, mw_step, mw_suspect)


cdef inline mw_step budget_step(const Policy *p, const mw_suspect *s, uint32_t day) noexcept:
    """Until the day (UTC) ends: rounded scores beyond the budget, the top class beyond 1.5 times, the fallback beyond twice."""
    cdef double used
    if p.budget == 0 or s.day != <uint16_t>day:
        return MW_STEP_OBSERVE
    used = s.spent / p.budget
    if used >= 2:
        return MW_STEP_FALLBACK
    if used >= 1.5:
        return MW_STEP_TOP_CLASS
    return MW_STEP_ROUND if used >= 1 else MW_STEP_OBSERVE
