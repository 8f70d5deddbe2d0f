# Last good answers: what a model said to the very same request, for when it says nothing.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.buffer cimport Buffer
from modelward_native.limits.limit cimport Limiter

cdef struct LastGoodAnswer:
    uint64_t key[2]               # keyed hash of the request; 0, 0: empty
    int64_t at                    # ns
    uint8_t owner                 # part of the hash of the identity that it was for: index in LastGoodAnswers.entries_of
    Buffer answer                 # owned; framed

cdef class LastGoodAnswers:
    cdef LastGoodAnswer *table    # owned; each request has one place, which the latest keeps, but for those of callers with fewer
    cdef uint32_t[256] entries_of  # by owner: how many entries it has
    cdef uint64_t size
    cdef int64_t max_age          # ns
    cdef uint64_t memory          # bytes that all answers may hold
    cdef readonly uint64_t held
    cdef readonly uint64_t kept
    cdef readonly uint64_t answered
    cdef void keep(self, Limiter limiter, Exchange *x, const Buffer *framed, int64_t now) noexcept
    # A copy, which counts as in flight; False where there is none, or it is too old.
    cdef bint find(self, Limiter limiter, Exchange *x, Buffer *framed, int64_t now) noexcept
