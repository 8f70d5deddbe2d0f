# The flood budget: what a connection may do that costs us and brings no request.
from libc.stdint cimport int64_t, uint8_t

cdef extern from "flood.h" nogil:
    enum:
        MW_FRAME_BURST
        MW_FRAME_NS
        MW_RESET_BURST
        MW_RESET_FAULT
    ctypedef struct mw_flood:
        int64_t frames_ns
        int64_t resets_ns
    void mw_flood_init(mw_flood *, int64_t now_ns)
    int mw_flood_read(mw_flood *, const uint8_t *, size_t, int64_t now_ns)
    void mw_flood_request(mw_flood *, size_t block)
    void mw_flood_message(mw_flood *)
    void mw_flood_sent(mw_flood *, size_t)
    int mw_flood_reset(mw_flood *, int weight, int64_t now_ns)
    int64_t mw_flood_resets(const mw_flood *, int64_t now_ns)
