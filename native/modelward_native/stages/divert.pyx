"""At the message: a caller at the step `fallback` is refused the model, and at completion the fallback chain answers instead.

After `score`, so that its rows go on to be judged: evidence falls again with honest ones.
"""
from libc.stdint cimport int64_t

from modelward_native.detect.suspicion cimport MW_STEP_FALLBACK
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.restrict cimport restricted_for


cdef int divert(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    if x.step != MW_STEP_FALLBACK:
        return GO_ON
    restricted_for(v, 0)
    return REFUSE
