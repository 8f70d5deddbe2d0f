# Declarations of modelward_native/wire/sites.h, and of the networks in forwarded.h.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "forwarded.h" nogil:
    ctypedef struct mw_network:
        uint8_t address[16]
        uint8_t bits

cdef extern from "sites.h" nogil:
    enum:
        MW_SITE_WAYS
        MW_SITE_BUCKETS
    ctypedef struct mw_sites:
        uint32_t most
    mw_sites *mw_sites_new(uint32_t most)
    bint mw_sites_enter(mw_sites *sites, uint64_t network, uint64_t member, uint32_t most, int64_t now)
