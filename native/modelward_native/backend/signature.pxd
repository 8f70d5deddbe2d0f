# The inputs and outputs of a model: as its session declares them, or as its upstreams tell them.
from libc.stdint cimport uint32_t

from modelward_native.backend.session cimport mw_declared
from modelward_native.request.model cimport Tensor
from modelward_native.request.tensor cimport mw_span

# Both make an array that is the caller's, also where they raise. ValueError: the protocol has no such tensor.
# The names are the session's.
cdef int declare_tensors(const mw_declared *declared, uint32_t count, Tensor **out) except -1
# From (name, datatype, shape) of each. The names are in bytes that `keep` gets.
cdef int declare_specs(list keep, specs, Tensor **out) except -1
# Likewise.
cdef mw_span keep_text(list keep, str text) except *
# (name, datatype, shape) of each; -1 for a dynamic dimension.
cdef list specs_of(const Tensor *tensors, uint32_t count)
# The first dimension of each is dynamic.
cdef bint has_batch_axis(const Tensor *inputs, uint32_t ins, const Tensor *outputs, uint32_t outs) noexcept
# A dimension other than the first is.
cdef bint grows_within_rows(const Tensor *inputs, uint32_t count) noexcept
