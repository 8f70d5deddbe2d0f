# Declarations of modelward_native/wire/holders.h.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "holders.h" nogil:
    enum:
        MW_HOLDER_WAYS
        MW_HOLDER_BUCKETS
    ctypedef struct mw_holder:
        uint64_t key
        uint64_t bytes
        uint32_t users
        uint32_t relays
        mw_holder *peer
        mw_holder *identity
    ctypedef struct mw_holders:
        mw_holder rest
        uint32_t live
        mw_holder cell[MW_HOLDER_BUCKETS][MW_HOLDER_WAYS]
    uint64_t mw_holder_key(uint64_t peer, uint64_t identity)
    mw_holder *mw_holder_enter(mw_holders *, uint64_t peer, uint64_t identity)
    void mw_holder_leave(mw_holders *, mw_holder *)
    void mw_holder_count(mw_holders *, mw_holder *, int64_t more)
    void mw_holder_relay(mw_holder *, int more)
    bint mw_holder_may_relay(const mw_holder *, uint64_t used, uint64_t limit, double factor)
    uint64_t mw_holder_held(const mw_holder *)
    bint mw_holder_may(
        const mw_holder *, uint64_t more, uint64_t used, uint64_t limit, double factor, uint64_t least)
    double mw_holder_factor(double share)
    uint64_t mw_holder_room(const mw_holder *, uint64_t used, uint64_t limit, double factor)
