# The table of callers and what they may.
from libc.stdint cimport uint32_t

from modelward_native.access.identity cimport Grant, Identity
from modelward_native.limits.limit cimport Limiter

cdef class Granted:               # a Grant and what it follows from
    cdef Grant grant
    cdef object rules             # the tuple of their numbers

cdef class Identities:
    cdef Limiter limiter
    cdef Identity *slot           # owned: `capacity` of them, `taken` in use since the start
    cdef uint32_t capacity
    cdef uint32_t taken
    cdef uint32_t hand            # where the search for a slot to give away goes on
    cdef uint32_t stamps          # the last one given
    cdef Identity anonymous       # whose name nobody knows
    cdef bint anonymous_allowed   # rules say what an anonymous caller may
    cdef Grant nothing            # allows nothing: the anonymous caller's where it is not allowed
    cdef dict slots               # (source, name) -> slot
    cdef list names               # slot -> (source, name)
    cdef dict grants              # tuple of rule numbers -> Granted
    cdef dict models              # name -> number; only ever grows
    cdef object rules             # modelward.access.rules.Rules
    cdef object patterns          # (source, name) -> bits (access.identity.Identity.patterns); None: none
    cdef object shares            # (source, name) -> limit, weight, highest and lowest priority; None: all have the same

    cdef int share(self, uint32_t number) except -1
    cdef Identity *of(self, str source, str name) except? NULL   # NULL where there is no room
    cdef uint32_t free_slot(self) noexcept
    cdef Granted granted(self, object rules)
    cdef int compile(self, Granted granted) except -1
