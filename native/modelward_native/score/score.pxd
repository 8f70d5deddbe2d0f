# The object that owns a profile's memory. C declarations are apart (profile.pxd), for who cimports a module that has a class
# imports it too, and this one brings numpy.
from libc.stdint cimport uint8_t

from modelward_native.score.profile cimport mw_profile


cdef class Kernel:
    cdef mw_profile profile       # immutable; its pointers are into `memory`. Borrow it only while holding the Kernel
    cdef list memory              # numpy arrays, 64-byte aligned copies of what the constructor was given
    cdef const void *keep(self, object array, object dtype) except? NULL
    cdef object fill_views(self, object views)
    cdef object fill_cells(self, object means, object radius, object first, object prototypes, object counts)
    cdef object fill_columns(self, object text, object words, object column_words, object is_open)
    cdef tuple buffers(self)
    cdef int load_row(self, const double *values, const uint8_t *unknown, float *row) except -1 nogil
