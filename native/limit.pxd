"""GCRA limits of four levels: peer and identity in one table, model and total in cells of their own."""
from libc.stdint cimport int64_t, uint64_t

from native.region cimport Region


cdef extern from "gcra.h" nogil:
    ctypedef enum mw_level:
        MW_LEVEL_PEER
        MW_LEVEL_IDENTITY
        MW_LEVEL_MODEL
        MW_LEVEL_TOTAL
        MW_LEVELS

    enum:
        MW_ADMITTED
        MW_GCRA_MAX_CLAIMS

    const int64_t MW_RETRY_NEVER

    ctypedef struct mw_rate:
        int64_t interval_ns
        int64_t tolerance_ns

    ctypedef struct mw_meter:
        mw_rate rate
        int64_t *tat_ns

    ctypedef struct mw_gcra_shared:
        int64_t total_tat_ns
        uint64_t overflowed

    ctypedef struct mw_gcra:
        mw_gcra_shared *shared

    ctypedef struct mw_claim:
        mw_rate rate
        uint64_t hash
        mw_meter *meter
        mw_level level

    int mw_rate_make(double requests_per_second, int64_t burst, mw_rate *out)
    size_t mw_gcra_size(uint64_t keys)
    void mw_gcra_init(mw_gcra *table, mw_gcra_shared *shared, void *buckets, size_t size, const uint64_t *sip_key)
    uint64_t mw_gcra_hash(const mw_gcra *table, mw_level level, const void *key, size_t size)
    int64_t mw_gcra_peek(mw_gcra *table, mw_rate rate, uint64_t hash, mw_level level, int64_t now_ns)
    int mw_gcra_admit(mw_gcra *table, const mw_claim *claims, int count, int64_t cost, int64_t now_ns,
                      int64_t *retry_ns)
    void mw_gcra_prefetch(const mw_gcra *table, uint64_t hash)


cdef class Limiter:
    # The kernel is linked into limit alone: other modules reach it through these methods (one indirect call, ~1 ns).
    cdef mw_gcra table
    cdef void *mapped          # by this object, unmapped with it; NULL where the memory is the region's
    cdef Region region         # keeps the memory alive; None where it is ours
    cdef size_t size           # bytes of the buckets
    cdef mw_rate peer          # interval 0 (the start): unlimited
    cdef mw_rate identity
    cdef mw_meter total

    # key: for PEER the address bytes (one IPv6 peer owns a whole /64: pass 8 bytes), for IDENTITY its name.
    cdef uint64_t hash(self, mw_level level, const void *key, size_t size) noexcept nogil

    # Rooms 2 and 4 of the pipeline. 0, or nanoseconds until this peer's next request conforms.
    cdef int64_t peek_peer(self, uint64_t peer, int64_t now_ns) noexcept nogil

    # Charges all four levels or none. model: the model's own meter, NULL for none. identity 0: nobody is known, the
    # level is skipped. Returns MW_ADMITTED or the mw_level that refuses, with its wait in retry_ns.
    cdef int admit(self, uint64_t peer, uint64_t identity, mw_meter *model, int64_t cost, int64_t now_ns,
                   int64_t *retry_ns) noexcept nogil


# Fills a rate from configuration; ValueError says what is wrong.
cdef int make_rate(double requests_per_second, int64_t burst, mw_rate *out) except -1
