# Places that holders share, such as connections of peers: who has how many, and which were idle for longest.

cdef class Places:
    cdef dict holders                 # holder -> OrderedDict of its items, the idlest first
    cdef dict by_count                # count -> OrderedDict of the holders that have so many
    cdef readonly int most            # items of the largest holder
    cdef readonly int taken           # items in all
    cpdef object of(self, object holder)
    cdef int move(self, object holder, int before, int after) except -1
    cpdef int enter(self, object holder, object item) except -1
    cpdef bint leave(self, object holder, object item) except -1
    cpdef int touch(self, object holder, object item) except -1
    cpdef list largest(self, int count)
