# What one server knows of its callers: their credentials, their identities, and the credentials that are being checked.
from libc.stdint cimport uint32_t, uint64_t

from modelward_native.access.identities cimport Identities
from modelward_native.access.tokens cimport Tokens
from modelward_native.limits.limit cimport Limiter
from modelward_native.wire.listener cimport Listener
from modelward_native.wire.types cimport Wire

cdef class Access:
    cdef Listener listener
    cdef Tokens good              # owner: the slot of an identity
    cdef Tokens bad               # owner: a Credential (access.credentials), what its check said; for a short time
    cdef Limiter failures         # credentials that were refused, per peer
    cdef readonly Identities identities
    cdef uint32_t epoch           # counts the times that keys of the tokens' issuer were withdrawn
    cdef dict attempts            # hash of a credential -> access.attempts.Attempt under way
    cdef dict of_peer             # key of a peer -> its attempts
    cdef uint32_t waiting         # streams
    cdef dict waiting_of          # budget of a peer -> its streams that wait
    cdef public object verify     # called with each new Attempt
    cdef public bint forwards     # upstreams see `authorization`
    cdef uint64_t hits
    cdef uint64_t misses
    cdef uint64_t refused         # attempts that ended in a refusal
    cdef uint64_t known_bad       # credentials that were refused again without being checked


# Where wire.access is not NULL.
cdef inline Access access_of(const Wire *wire):
    return <Access>wire.access
