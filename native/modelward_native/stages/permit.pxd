# At the message: whether its sender may ask the model.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE, STOP

cdef int permit(State server, Exchange *x, Verdict *v, int64_t now) noexcept
