# A request compared with a model's signature.
from libc.stdint cimport uint32_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model, Tensor
from modelward_native.request.oip cimport mw_scan
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport Verdict

# Fills the exchange's tensors from the scan; False with a verdict where the request does not fit.
cdef bint validate(const mw_scan *found, Exchange *x, Model *m, Verdict *verdict) noexcept
# Gives back what it has taken.
cdef void drop_tensors(Exchange *x) noexcept
# Which of the tensors has the name, looked for at `hint` first; -1: none.
cdef int find_tensor(const Tensor *tensors, uint32_t count, uint32_t hint, mw_span name) noexcept
