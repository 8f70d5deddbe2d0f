# At completion: what the model said is held against the guards of its outputs.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint guard(State server, Exchange *x, Result *r, int64_t now) noexcept
