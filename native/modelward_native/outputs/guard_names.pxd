# Declarations of modelward_native/outputs/guard_names.h.
from libc.stdint cimport uint32_t

cdef extern from "guard_names.h" nogil:
    enum:
        GUARD_TEXT "MW_GUARD_TEXT"
    size_t guard_names "mw_guard_names"(uint32_t guards, char *text)
