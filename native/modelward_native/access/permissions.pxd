# What a caller may: each message of an inference, each call of another method, and twice a second each open stream.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from modelward_native.access.access cimport Access
from modelward_native.wire.types cimport Stream
from modelward_native.request.verdict cimport Verdict

# All take a stream whose caller is known, and return False with a verdict. permits: bits of access.identity.Permit.
# model: the number of its name, or NOT_SERVED (access.identity). A caller that may not call it does not learn which.
cdef bint permit_model(const Stream *s, uint32_t model, uint8_t permits, Verdict *v) noexcept
# Before a message says which model; permits 0: any identity may.
cdef bint permit_method(const Stream *s, uint8_t permits, Verdict *v) noexcept
# Whether the caller of an open stream may go on, by what proved it and by what rules say of the method.
cdef bint permit_to_go_on(Access access, const Stream *s, int64_t now, Verdict *v) noexcept
