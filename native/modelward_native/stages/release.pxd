# At completion: the backend is done with the request.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint release(State server, Exchange *x, Result *r, int64_t now) noexcept
# Gives the permit back, if there is one. latency: how long the backend took, ns; negative: not known.
cdef void leave(State server, Exchange *x, int64_t latency, int64_t now) noexcept
# The same for an exchange that no longer waits for its backend's answer.
cdef void abandon(State server, Exchange *x, int64_t latency, int64_t now) noexcept
