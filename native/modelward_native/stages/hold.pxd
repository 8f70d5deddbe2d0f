# At completion: the answer to a caller at the step `delay` waits.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint hold(State server, Exchange *x, Result *r, int64_t now) noexcept
# Its client has let go: the answer is dropped at once.
cdef void let_go_held(State server, Exchange *x) noexcept
