# A scanned request held against a model's signature.
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.message cimport mw_scan
from modelward_native.request.model cimport Model
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport Verdict

cdef bint peek_model(mw_span message, mw_span *name) noexcept
# The same of the first bytes of a message, where they hold a name.
cdef bint first_model(mw_span piece, mw_span *name) noexcept

# How many bytes of a name an error repeats: a bounded number of whole UTF-8 characters.
cdef int shown(mw_span s) noexcept

# Fills `found`, whose spans point into the message. On False the id in it is good, unless the message is malformed.
cdef bint scan(mw_span message, mw_scan *found, Verdict *verdict) noexcept
# The same of a request that is passed on undecoded: its tensors are not looked at.
cdef bint outline(mw_span message, mw_scan *found, Verdict *verdict) noexcept

# Fills the exchange's tensors from the scan; False with a verdict where the request does not fit.
cdef bint validate(const mw_scan *found, Exchange *x, Model *m, Verdict *verdict) noexcept
# Room for count tensors with dims dimensions in all; False for want of memory.
cdef bint take_tensors(Exchange *x, unsigned int count, size_t dims) noexcept
cdef void drop_tensors(Exchange *x) noexcept
