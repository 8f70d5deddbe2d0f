# At completion: shadows are asked the same.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint mirror(State server, Exchange *x, Result *r, int64_t now) noexcept
# A copy of a request, with one reference, goes to its backend.
cdef void send_copy(State server, Exchange *y, int64_t now) noexcept
cdef void end_copies(State server) noexcept           # of a server that stops
