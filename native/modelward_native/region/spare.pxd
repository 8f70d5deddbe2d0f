# Declarations of modelward_native/region/spare.h.

cdef extern from "spare.h" nogil:
    ctypedef struct mw_spares:
        unsigned count
    void *mw_spare_take(mw_spares *)
    void *mw_spare_new(mw_spares *, size_t size)
    void mw_spare_keep(mw_spares *, void *item, unsigned most)
