# At the message: is it a request, and one that its model takes.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE

cdef int decode(State server, Exchange *x, Verdict *v, int64_t now) noexcept
