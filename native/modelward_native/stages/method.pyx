"""At the headers: whether the caller may call the method at all. `permit` checks the model, once a message names it."""
from libc.stdint cimport int64_t, uint8_t

from modelward_native.access.identity cimport PERMIT_INFER, PERMIT_STREAM
from modelward_native.access.permissions cimport permit_method
from modelward_native.wire.types cimport METHOD_INFER, METHOD_STREAM_INFER, Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.wire.holding cimport forget_holder


cdef int method(State server, Stream *s, Verdict *v, int64_t now) noexcept:
    if s.caller == NULL:
        return GO_ON
    forget_holder(s)
    if s.caller.budget:
        s.budget = s.caller.budget
        s.shared_key = s.caller.shared_key
    s.permits = needed(server, s)
    return GO_ON if permit_method(s, s.permits, v) else REFUSE


cdef uint8_t needed(State server, const Stream *s) noexcept:
    """The permissions that the method needs: bits of access.identity.Permit."""
    if s.method == METHOD_INFER:
        return PERMIT_INFER
    if s.method == METHOD_STREAM_INFER:
        return PERMIT_STREAM
    return server.cold_calls.permits_of(server, s)
