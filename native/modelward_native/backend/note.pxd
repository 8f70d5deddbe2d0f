# Declarations of modelward_native/backend/note.h, but for what only backend.runtime calls.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "note.h" nogil:
    enum:
        MW_NOTE_NAME
        MW_NOTE_VERSION
        MW_NOTE_DIGEST
        MW_NOTE_DIMS
        MW_NOTE_CALLERS
    ctypedef struct mw_death:
        uint32_t pool
        int32_t signal
    ctypedef struct mw_note:
        uint32_t used
        uint32_t loading
        char name[MW_NOTE_NAME]
        char version[MW_NOTE_VERSION]
        char digest[MW_NOTE_DIGEST]
        uint32_t dims
        int32_t signal
        uint32_t pool
        uint32_t any_rows
        uint32_t callers
        uint64_t caller[MW_NOTE_CALLERS]
        int64_t dim[MW_NOTE_DIMS]
