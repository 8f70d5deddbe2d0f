# At completion: what the client is told.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint reply(State server, Exchange *x, Result *r, int64_t now) noexcept

cdef const char *UPSTREAM_REFUSES_US
