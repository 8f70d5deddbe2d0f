"""At the headers: a call whose grpc-timeout cannot be read is refused; no value is guessed."""
from libc.stdint cimport int64_t

from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport REASON_MALFORMED_TIMEOUT, Verdict, refusal


cdef int timeout(State server, Stream *s, Verdict *v, int64_t now) noexcept:
    if s.timeout_malformed:
        refusal(v, REASON_MALFORMED_TIMEOUT, "grpc-timeout must be 1 to 8 digits and one of H M S m u n")
        return REFUSE
    return GO_ON
