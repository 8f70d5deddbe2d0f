# At completion: what the client has not asked for is taken out of the answer.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint trim(State server, Exchange *x, Result *r, int64_t now) noexcept
