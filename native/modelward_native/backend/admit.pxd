# Admission to a backend: an adaptive number of requests at a time, and a fair queue of those who wait for their turn.
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

cdef extern from "concurrency.h" nogil:
    ctypedef struct mw_concurrency:
        double limit
        double floor
        double ceiling
        uint32_t inflight
        int64_t least
        int64_t least_before
        int64_t latency
        int probing
        double interval
    void mw_concurrency_init(mw_concurrency *, double initial, double floor, double ceiling)
    uint32_t mw_concurrency_limit(const mw_concurrency *)
    bint mw_concurrency_free(const mw_concurrency *)
    void mw_concurrency_enter(mw_concurrency *)
    void mw_concurrency_leave(mw_concurrency *, int64_t latency_ns, int64_t now_ns)

cdef extern from "waiting.h" nogil:
    enum:
        MW_NOT_WAITING
    ctypedef struct mw_flow:
        uint32_t waiting
    ctypedef struct mw_waiting:
        uint32_t count
        uint32_t capacity
        uint32_t active
        mw_flow *flow
    void mw_waiting_init(mw_waiting *, uint32_t capacity)
    void mw_waiting_free(mw_waiting *)
    uint32_t mw_waiting_flow(uint64_t key)
    void mw_waiting_pass(mw_waiting *, uint64_t key, double cost)
    void mw_waiting_correct(mw_waiting *, uint64_t key, double more)
    bint mw_waiting_push(mw_waiting *, uint16_t band, uint16_t own, uint64_t key, double cost, void *owner, uint32_t *where,
                         void **shed)
    void *mw_waiting_pop(mw_waiting *)
    void mw_waiting_remove(mw_waiting *, uint32_t *where)
    double mw_waiting_ahead(const mw_waiting *, uint64_t key)
