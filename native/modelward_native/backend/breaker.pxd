# The circuit breaker of an endpoint; modelward_native.backend.pool embeds mw_breaker.
from libc.stdint cimport int64_t, uint32_t


cdef extern from "breaker.h" nogil:
    ctypedef enum mw_breaker_state:
        MW_BREAKER_CLOSED
        MW_BREAKER_HALF_OPEN
        MW_BREAKER_OPEN

    ctypedef enum mw_breaker_result:
        MW_BREAKER_IGNORED
        MW_BREAKER_FAILURE
        MW_BREAKER_SUCCESS

    ctypedef struct mw_breaker_policy:
        uint32_t failures
        uint32_t permille
        uint32_t volume
        int64_t slot
        int64_t ejection
        int64_t longest

    ctypedef struct mw_breaker:
        bint open
        uint32_t failures

    void mw_breaker_recount(mw_breaker *b)
    mw_breaker_state mw_breaker_state_at(const mw_breaker *b, int64_t now)
    bint mw_breaker_due(const mw_breaker *b, int64_t now)
    bint mw_breaker_begin(mw_breaker *b, int64_t now)
    bint mw_breaker_end(mw_breaker *b, const mw_breaker_policy *p, bint trial, mw_breaker_result result, int64_t now)


cdef class Policy:
    cdef mw_breaker_policy policy
    cdef readonly uint32_t max_inflight
