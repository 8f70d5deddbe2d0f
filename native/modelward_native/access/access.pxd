# Who calls, and may they: credentials to identities, identities to models and methods.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.request.exchange cimport Stream
from modelward_native.wire.h2 cimport Listener
from modelward_native.access.identities cimport Identities
from modelward_native.limits.limit cimport Limiter
from modelward_native.access.tokens cimport Tokens
from modelward_native.request.verdict cimport Verdict

cdef enum Outcome:
    IDENTIFIED                    # s.caller is set
    WAITING                       # the credential is being checked; on_identified is called when that is done
    DENIED                        # the stream is refused

cdef class Access:
    cdef Listener listener
    cdef Tokens good              # owner: the slot of an identity
    cdef Tokens bad               # owner: a Credential (access.pyx), what its check said; for a short time
    cdef Limiter failures         # credentials that were refused, per peer
    cdef readonly Identities identities
    cdef uint32_t epoch           # counts the times that keys of the tokens' issuer were withdrawn
    cdef dict attempts            # hash of a credential -> Attempt under way
    cdef dict of_peer             # key of a peer -> its attempts
    cdef uint32_t waiting         # streams
    cdef dict waiting_of          # budget of a peer -> its streams that wait
    cdef public object verify     # called with each new Attempt
    cdef public bint forwards     # upstreams see `authorization`
    cdef uint64_t hits
    cdef uint64_t misses
    cdef uint64_t refused         # attempts that ended in a refusal
    cdef uint64_t known_bad       # credentials that were refused again without being checked

    cdef Outcome identify(self, Stream *s, int64_t now) noexcept
    # model: the number of its name, or NOT_SERVED (access.identity)
    cdef bint permit(self, const Stream *s, uint32_t model, uint8_t permits, Verdict *v) noexcept
    cdef bint permit_method(self, const Stream *s, uint8_t permits, Verdict *v) noexcept
    # Whether the caller of an open stream may go on, by what proved it and by what rules say of the method.
    cdef bint stands(self, const Stream *s, int64_t now, Verdict *v) noexcept
    cdef int begin(self, Stream *s, int64_t now) except -1
    cdef int64_t wait_of(self, uint64_t peer, int under_way, int64_t now) noexcept

cdef class Attempt:               # one credential that is being checked, and the streams that wait for it
    cdef Access access
    cdef Stream *first            # borrowed: chained by next_waiting
    cdef uint64_t[2] hash
    cdef uint64_t peer
    cdef readonly str peer_name
    cdef readonly bytes credential
    cdef readonly bint is_key     # an API key, not a token
    cdef int unlink(self, Stream *s) except -1
    cdef int settle(self) except -1

cdef void on_credential(Stream *s, bint key, const uint8_t *value, size_t size) noexcept
cdef void leave(Stream *s) noexcept   # the stream is about to be freed
