/* What kernels of this folder have in common, beside watch.h. */
#ifndef MODELWARD_FINGERPRINT_H
#define MODELWARD_FINGERPRINT_H

#include "watch.h"

static inline uint64_t mw_watch_mix(uint64_t h) {
    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

/* Numbers that follow from the server's secret, so that all processes have the same. */
static inline uint64_t mw_watch_secret(const mw_watch *w, uint64_t what, uint64_t which) {
    return mw_watch_mix(mw_watch_mix(w->secret ^ what) + which * UINT64_C(0x9e3779b97f4a7c15));
}

/* The hash of one piece at resolution r, before cell and identity: scale is what projections are multiplied with. */
uint64_t mw_watch_piece(const mw_watch *w, int r, const float *v, float scale);

/* Four bins an octave, by the float's exponent and two bits of its fraction; all below 2^-16 is bin 0. */
static inline uint32_t mw_margin_bin(float margin) {
    union {
        float value;
        uint32_t bits;
    } of = {margin};
    const int32_t bin = (int32_t)(of.bits >> 21) - ((127 - 16) << 2);
    return margin > 0.0f && bin > 0 ? (bin < MW_WATCH_MARGINS ? (uint32_t)bin : MW_WATCH_MARGINS - 1) : 0;
}

/* Where a bin begins. */
static inline float mw_margin_from(uint32_t bin) {
    union {
        uint32_t bits;
        float value;
    } of = {(bin + ((127 - 16) << 2)) << 21};
    return bin ? of.value : 0.0f;
}

#endif
