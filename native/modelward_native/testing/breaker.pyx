"""A circuit breaker by itself: for tests."""
from libc.stdint cimport int64_t

from modelward_native.backend.breaker cimport (
    MW_BREAKER_FAILURE, MW_BREAKER_IGNORED, MW_BREAKER_SUCCESS, Policy, mw_breaker, mw_breaker_begin, mw_breaker_due,
    mw_breaker_end, mw_breaker_result, mw_breaker_state_at)
from modelward_native.backend.breaker import STATES


cdef class Breaker:
    """modelward_native/backend/breaker.h. Times are ns of any monotonic clock."""

    cdef mw_breaker breaker
    cdef Policy policy

    def __cinit__(self, Policy policy not None):
        self.policy = policy

    def state(self, int64_t now):
        """One of STATES."""
        return STATES[<int>mw_breaker_state_at(&self.breaker, now)]

    def due(self, int64_t now):
        """Whether the next request would be the trial."""
        return mw_breaker_due(&self.breaker, now)

    def begin(self, int64_t now):
        """A request goes; whether it is the trial."""
        return mw_breaker_begin(&self.breaker, now)

    def end(self, bint trial, good, int64_t now):
        """It has ended: good, bad, or None where that says nothing. Whether the endpoint is out by it."""
        cdef mw_breaker_result result = MW_BREAKER_IGNORED if good is None else MW_BREAKER_SUCCESS if good else MW_BREAKER_FAILURE
        return mw_breaker_end(&self.breaker, &self.policy.policy, trial, result, now)
