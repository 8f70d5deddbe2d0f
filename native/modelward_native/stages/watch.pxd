# At completion: what a request's rows and their answers say of its caller.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint watch(State server, Exchange *x, Result *r, int64_t now) noexcept
