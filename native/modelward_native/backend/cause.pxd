# Declarations of modelward_native/backend/cause.h.
cdef extern from "cause.h" nogil:
    void mw_cause(const char *words, char *to, size_t size)
