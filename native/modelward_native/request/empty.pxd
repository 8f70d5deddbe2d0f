# Dimensions of 0: which of a model's it bears, as ONNX Runtime dies of some (modelward/models/trial.py finds out).
from libc.stdint cimport uint32_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model

# Whether m bears the zeros in x's dimensions. `asked`: x has them in the order of m's inputs, else x.model is m. If it does not,
# input and dim are the first of them.
cdef bint bears(const Exchange *x, const Model *m, bint asked, uint32_t *input, uint32_t *dim) noexcept
