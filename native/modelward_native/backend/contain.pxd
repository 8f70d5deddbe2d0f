# Inputs that a version is not run with any more, because a process died of them.
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model

# Whether the model that is to run is not to be run with the dimensions of x, for its caller or at all. x.model is m.
cdef bint contained(const Exchange *x, const Model *m) noexcept
