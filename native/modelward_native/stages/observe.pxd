# At completion: a sample of the requests goes where capture and drift see it.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint observe(State server, Exchange *x, Result *r, int64_t now) noexcept
