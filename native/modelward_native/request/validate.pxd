# A request compared with a model's signature.
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.oip cimport mw_scan
from modelward_native.request.verdict cimport Verdict

# Fills the exchange's tensors from the scan; False with a verdict where the request does not fit.
cdef bint validate(const mw_scan *found, Exchange *x, Model *m, Verdict *verdict) noexcept
# Gives back what it has taken.
cdef void drop_tensors(Exchange *x) noexcept
