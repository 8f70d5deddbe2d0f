# Last good answers: what a model said to the very same request, for when it says nothing.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.buffer cimport Buffer
from modelward_native.limits.limit cimport Limiter
from modelward_native.request.model cimport LastGood

cdef class LastGoodAnswers:
    cdef LastGood answers

cdef void keep_answer(LastGood *known, Limiter limiter, Exchange *x, const Buffer *framed, int64_t now) noexcept
# A copy, which counts as in flight; False where there is none, or it is too old.
cdef bint find_answer(LastGood *known, Limiter limiter, Exchange *x, Buffer *framed, int64_t now) noexcept
