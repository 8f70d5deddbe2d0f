"""At completion: outputs that guards and evidence look at, and that the client has not asked for, are taken out of the answer."""
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.hidden_outputs cimport drop_hidden
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport REASON_BACKEND_FAILED
from modelward_native.stages.stage cimport Result, withhold


cdef bint trim(State server, Exchange *x, Result *r, int64_t now) noexcept:
    if x.shown == x.wanteds or r.answer == NULL or x.mirrors != NULL or r.sent_up:
        return True
    if not drop_hidden(x, r.answer):
        withhold(x, r, REASON_BACKEND_FAILED)
    return True
