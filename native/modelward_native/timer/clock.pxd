# Declarations of modelward_native/timer/clock.h.
from libc.stdint cimport int64_t

cdef extern from "clock.h" nogil:
    int64_t mw_now_ns()
