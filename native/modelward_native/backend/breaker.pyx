"""What a configuration makes of the circuit breaker of its endpoints."""
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
