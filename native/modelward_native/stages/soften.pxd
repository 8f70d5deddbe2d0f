# At completion: what a restricted caller is told of the scores of classes.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.tensor cimport mw_span
from modelward_native.stages.stage cimport Result

cdef bint soften(State server, Exchange *x, Result *r, int64_t now) noexcept
# The same in a ModelInferResponse of a stream that is bound to an upstream's; first_label: as Exchange.first_label. False: it
# cannot be read.
cdef bint softened(const Model *asked, mw_span message, int step, int first_label) noexcept
