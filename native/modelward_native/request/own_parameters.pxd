from libc.stdint cimport uint8_t

cdef extern from "own_parameters.h" nogil:
    size_t mw_drop_own_parameters(uint8_t *message, size_t size)
