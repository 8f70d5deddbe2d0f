# What peers hold of what they share, such as connections: how many each has, and which were idle for longest.

cdef class PeerIndex:
    cdef dict peers                 # peer -> OrderedDict of its items, the idlest first
    cdef dict by_count                # count -> OrderedDict of the peers with that many items
    cdef readonly int most            # items of the largest peer
    cdef readonly int taken           # items in all
    cpdef object of(self, object peer)
    cdef int move(self, object peer, int before, int after) except -1
    cpdef int enter(self, object peer, object item) except -1
    cpdef bint leave(self, object peer, object item) except -1
    cpdef int touch(self, object peer, object item) except -1
    cpdef list largest(self, int count)
