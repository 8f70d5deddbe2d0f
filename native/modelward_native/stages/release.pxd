# At completion: its backend is free of it.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint release(State server, Exchange *x, Result *r, int64_t now) noexcept
# Gives its permit back, where it has one. latency: how long the backend took, ns; negative where that is not known.
cdef void leave(State server, Exchange *x, int64_t latency, int64_t now) noexcept
# The same of an exchange whose backend's answer is not waited for any more.
cdef void abandon(State server, Exchange *x, int64_t latency, int64_t now) noexcept
