# A request message read in place (oip.h), with a verdict where it cannot be.
from modelward_native.request.oip cimport mw_scan
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport Verdict

# Fills `found`, whose spans point into the message. On False the id in it is good, unless the message is malformed.
cdef bint scan(mw_span message, mw_scan *found, Verdict *verdict) noexcept
# The same of a request that is passed on undecoded: its tensors are not looked at.
cdef bint scan_envelope(mw_span message, mw_scan *found, Verdict *verdict) noexcept

# How many bytes of a client's own name an error repeats: a bounded number of whole UTF-8 characters.
cdef int shown(mw_span s) noexcept
