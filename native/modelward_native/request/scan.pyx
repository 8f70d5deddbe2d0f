"""A ModelInferRequest read in place, and what is said of one that cannot be read."""
from libc.stdio cimport snprintf

from modelward_native.request.oip cimport (
    MW_SCAN_OK, MW_SCAN_RANK, MW_SCAN_TOO_MANY_INPUTS, MW_SCAN_TOO_MANY_OUTPUTS, mw_oip_scan, mw_oip_scan_envelope, mw_scan)
from modelward_native.request.tensor cimport MW_MAX_RANK, MW_MAX_TENSORS, mw_span
from modelward_native.request.verdict cimport (
    REASON_INVALID_INPUT, REASON_MALFORMED_MESSAGE, VERDICT_TEXT, Verdict, refusal, set_reason)

cdef enum:
    SHOWN = 64                    # bytes of a client's own name that an error repeats


cdef int shown(mw_span s) noexcept:
    cdef size_t n = s.size
    if n > SHOWN:
        n = SHOWN
        while n and (s.data[n] & 0xC0) == 0x80:
            n -= 1
    return <int>n


cdef bint malformed(Verdict *verdict) noexcept:
    refusal(verdict, REASON_MALFORMED_MESSAGE, "the message is not a valid inference.ModelInferRequest")
    return False


cdef bint scan(mw_span message, mw_scan *found, Verdict *verdict) noexcept:
    cdef int status = mw_oip_scan(message, found)
    if status == MW_SCAN_OK and not found.timeout_invalid:
        return True
    if status == MW_SCAN_OK:
        snprintf(verdict.text, VERDICT_TEXT, "parameter 'timeout' must be a whole number of microseconds, 0 or more")
    elif status == MW_SCAN_TOO_MANY_INPUTS:
        snprintf(verdict.text, VERDICT_TEXT, "more than %d inputs", <int>MW_MAX_TENSORS)
    elif status == MW_SCAN_TOO_MANY_OUTPUTS:
        snprintf(verdict.text, VERDICT_TEXT, "more than %d requested outputs", <int>MW_MAX_TENSORS)
    elif status == MW_SCAN_RANK:
        snprintf(verdict.text, VERDICT_TEXT, "an input has more than %d dimensions", <int>MW_MAX_RANK)
    else:
        return malformed(verdict)
    set_reason(verdict, REASON_INVALID_INPUT)
    return False


cdef bint scan_envelope(mw_span message, mw_scan *found, Verdict *verdict) noexcept:
    return mw_oip_scan_envelope(message, found) or malformed(verdict)
