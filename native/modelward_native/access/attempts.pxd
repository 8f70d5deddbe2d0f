# Credentials that are being checked, and the streams that wait for that.
from libc.stdint cimport int64_t, uint64_t

from modelward_native.access.access cimport Access
from modelward_native.wire.types cimport Stream

cdef class Attempt:
    cdef Access access
    cdef Stream *first            # borrowed: chained by next_waiting
    cdef uint64_t[2] hash
    cdef uint64_t peer
    cdef readonly str peer_name
    cdef readonly bytes credential
    cdef readonly bint is_key     # an API key, not a token
    cdef Stream *next(self) except? NULL
    cdef int unlink(self, Stream *s) except -1
    cdef int finish(self) except -1


# Where s.attempt is not NULL.
cdef inline Attempt attempt_of(const Stream *s):
    return <Attempt>s.attempt


# Lets the stream wait for the check of its credential, or refuses it; s.attempt says which.
cdef int check(Access access, Stream *s, int64_t now) except -1
