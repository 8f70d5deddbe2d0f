# Declarations of modelward_native/request/chosen_rows.h.
from libc.stdint cimport int64_t, uint64_t

cdef extern from "chosen_rows.h" nogil:
    int64_t mw_chosen_row(uint64_t seed, int64_t k, int64_t step, int64_t rows)
