# At the headers: who calls. A credential is looked up; one that is not known is checked before the body is read.
from libc.stdint cimport int64_t, uint8_t

from modelward_native.access.access cimport Access
from modelward_native.access.identity cimport Identity
from modelward_native.wire.types cimport Stream

cdef enum Identification:
    IDENTIFIED                    # s.caller is set
    BEING_CHECKED                 # the credential is; request.streams.on_identified is called when that is done
    DENIED                        # the stream is refused

cdef enum Credential:             # what became of a stream's credential at the headers
    CREDENTIAL_NONE = 0
    CREDENTIAL_KNOWN              # s.caller is set
    CREDENTIAL_NEW                # s.credential holds it
    CREDENTIAL_INVALID
    CREDENTIAL_EXPIRED
    CREDENTIAL_TOO_LARGE
    CREDENTIAL_NO_MEMORY

# A header that holds a credential. key: x-api-key, else authorization.
cdef void on_credential(Stream *s, bint key, const uint8_t *value, size_t size) noexcept
# The headers are complete.
cdef Identification find_caller(Access access, Stream *s, int64_t now) noexcept
# The stream is about to be freed: gives back its part of a check, its reference to its caller and its credential.
cdef void forget_caller(Stream *s) noexcept

# What proved `caller` counts until that moment.
cdef void set_caller(Access access, Stream *s, Identity *caller, int64_t until) noexcept
# The credential was checked, or was seen to be no good.
cdef Identification deny_credential(Stream *s, uint8_t state) noexcept
# It cannot be checked at the moment. reason: REASON_CREDENTIALS_LIMIT, REASON_ACCESS_BUSY or REASON_ACCESS_UNAVAILABLE.
cdef Identification deny_for_now(Stream *s, int reason, int64_t retry_ns) noexcept
