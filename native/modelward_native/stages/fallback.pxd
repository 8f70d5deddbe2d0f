# At completion: what may answer in place of the model.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

# False: a model of the chain was started; completion begins again when it has answered.
cdef bint fallback(State server, Exchange *x, Result *r, int64_t now) noexcept
