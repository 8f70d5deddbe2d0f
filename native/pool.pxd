# The endpoints of a model, and which of them the next request goes to.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from native.histogram cimport Histogram

cdef class Endpoint:
    cdef readonly str address
    cdef bytes authority
    cdef object upstream          # the native.upstream.Upstream; None while not connected
    cdef public object on_lost    # called when the connection has gone
    cdef bint in_order            # by active checks; endpoints start so
    cdef int64_t restored         # ns: when it came back, or will; from then on it starts slowly
    cdef readonly Histogram answers   # ns each
    cdef readonly uint32_t inflight
    cdef double latency           # ns; exponentially weighted
    cdef int64_t answered         # ns; when latency was last measured
    cdef double p95               # ns; estimated
    cdef uint32_t failures_in_row
    cdef int64_t ejected_until    # ns
    cdef readonly uint64_t requests
    cdef readonly uint64_t failures
    cdef readonly uint64_t ejections
    cdef bint available(self, int64_t now) noexcept
    cdef void judge(self, bint good, int64_t took, int64_t now) noexcept
    cdef void outlast(self, int64_t took, int64_t now) noexcept

cdef class Pool:
    cdef list endpoints
    cdef uint64_t random
    cdef double budget            # retries that may still be made
    cdef readonly uint64_t retries
    cdef public double hedge_share    # hedged requests per request; 0: off
    cdef double hedge_budget      # that may still be made
    cdef readonly uint64_t hedges
    cdef Endpoint choose(self, Endpoint avoid, int64_t now)
