"""The breaker kernel as objects: the policy that a configuration makes, and a breaker by itself for tests."""
from libc.stdint cimport int64_t

STATES = ("closed", "half-open", "open")  # by mw_breaker_state

cdef int64_t SECOND = 1000000000


cdef class Policy:
    """What takes an endpoint out, and for how long.

    failures: in a row, 0 for any number. success_rate: of the outcomes within `window` (ns), once there are `volume` of
    them; 0 for any. ejection: ns of the first, each further one is that much longer, up to `longest_ejection`.
    max_inflight: requests that the endpoint has at most.
    """

    def __cinit__(self, failures=5, double success_rate=0.5, volume=20, int64_t window=10 * SECOND,
                  int64_t ejection=10 * SECOND, int64_t longest_ejection=300 * SECOND, max_inflight=1024):
        if window < 10 or ejection < 1 or longest_ejection < ejection:
            raise ValueError("window, ejection and longest_ejection must be spans, the last the longest")
        self.policy.failures = failures
        self.policy.permille = <unsigned int>(success_rate * 1000 + 0.5)
        self.policy.volume = volume
        self.policy.slot = window // 10
        self.policy.ejection = ejection
        self.policy.longest = longest_ejection
        self.max_inflight = max_inflight


cdef class Breaker:
    """modelward_native/backend/breaker.h. Times are ns of any monotonic clock."""

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
