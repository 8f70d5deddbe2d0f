# Which peers of an IPv6 network have budgets of their own.
from libc.stdint cimport int64_t

cdef class Networks:
    cdef dict members                 # network -> OrderedDict: peer -> [its connections, ns when the last one ended]
    cdef object order                 # OrderedDict of networks, the one that was longest without a newcomer first
    cdef int most                     # peers of one /48; a quarter as many of one /56
    cdef tuple enter(self, bytes address, bytes peer, int64_t now)
    cdef int leave(self, tuple entered, int64_t now) except -1
    cdef bint vacate(self, object members, int64_t now) except -1
    cdef int forget_one(self, int64_t now) except -1
