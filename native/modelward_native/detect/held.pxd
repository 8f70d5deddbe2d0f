# Answers that are held back, at most so many: declarations of held.h, which says what each means.
from libc.stdint cimport uint64_t

cdef extern from "held.h" nogil:
    enum:
        MW_HELD
        MW_HELD_OF_ONE

    ctypedef struct mw_held:
        pass

    uint64_t *mw_held_take(mw_held *, uint64_t identity)
    void mw_held_give_back(uint64_t *place)
