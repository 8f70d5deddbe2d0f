"""A circuit breaker by itself: for tests."""
from libc.stdint cimport int64_t

from modelward_native.backend.breaker cimport (
    MW_OUTCOME_BAD, MW_OUTCOME_GOOD, MW_OUTCOME_NONE, Policy, mw_breaker, mw_breaker_begin, mw_breaker_due, mw_breaker_end,
    mw_breaker_state_at, mw_outcome)
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
        cdef mw_outcome outcome = MW_OUTCOME_NONE if good is None else MW_OUTCOME_GOOD if good else MW_OUTCOME_BAD
        return mw_breaker_end(&self.breaker, &self.policy.policy, trial, outcome, now)
