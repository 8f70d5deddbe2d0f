# Who is how suspicious: declarations of suspicion.h, which says what everything means, and the object that owns the table.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from modelward_native.region.region cimport Region


cdef extern from "suspicion.h" nogil:
    ctypedef enum mw_step:
        MW_STEP_OBSERVE
        MW_STEP_TAG
        MW_STEP_ROUND
        MW_STEP_TOP_CLASS
        MW_STEP_DELAY
        MW_STEP_FALLBACK
        MW_STEP_BLOCK
        MW_STEPS

    ctypedef enum mw_signal:
        MW_SIGNAL_UNLIKE
        MW_SIGNAL_NEAR
        MW_SIGNAL_WALK
        MW_SIGNALS

    enum:
        MW_SUSPECT_WAYS
        MW_SUSPECT_REGISTERS
        MW_NAT
        MW_OWN

    const float MW_EVIDENCE_MOST
    const float MW_YOUNG_ROWS

    ctypedef struct mw_suspect:
        uint64_t key
        uint32_t last
        uint32_t until
        uint32_t since
        uint16_t evidence[2 * <int>MW_SIGNALS]
        uint16_t own
        uint8_t step
        uint8_t pinned
        uint8_t strikes
        uint8_t spends
        uint16_t day
        uint8_t registers[MW_SUSPECT_REGISTERS]
        float distinct
        float spent

    ctypedef struct mw_suspicion_shared:
        uint64_t evicted

    ctypedef struct mw_suspicion:
        mw_suspicion_shared *shared
        mw_suspect *record
        uint64_t lines

    uint32_t mw_suspect_time(int64_t now_ns)
    size_t mw_suspicion_size(uint64_t identities)
    void mw_suspicion_init(mw_suspicion *t, void *memory, size_t size)
    uint64_t mw_suspect_key(uint64_t identity, uint64_t model)
    mw_suspect *mw_suspect_find(const mw_suspicion *t, uint64_t key)
    mw_suspect *mw_suspect_get(mw_suspicion *t, uint64_t key, int64_t now_ns)
    mw_suspect *mw_suspect_again(mw_suspicion *t, mw_suspect *found, uint64_t key, int64_t now_ns)
    mw_step mw_suspect_step(const mw_suspect *s, int64_t now_ns)
    int64_t mw_suspect_blocked_ns(const mw_suspect *s, int64_t now_ns)
    float mw_suspect_evidence(const mw_suspect *s, int64_t now_ns, mw_signal *signal)
    mw_step mw_step_of(float evidence, bint young, mw_step before)
    void mw_suspect_pardon(mw_suspect *s, int64_t now_ns)
    void mw_suspect_pin(mw_suspect *s, mw_step step, int64_t now_ns)
    void mw_suspect_prefetch(const mw_suspicion *t, uint64_t key)


cdef class Suspicion:
    cdef mw_suspicion table       # in the region's memory, shared with its other processes
    cdef Region region            # keeps the memory alive
    # The number of a model's name in keys.
    cdef uint64_t model_number(self, bytes name) noexcept
