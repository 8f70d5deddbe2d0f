/* How many distinct rows an identity has sent, in 16 bytes: HyperLogLog of 32 registers, four bits each (Flajolet, Fusy, Gandouet
 * and Meunier, 2007), read as a martingale (Ting, "Streamed approximate counting of distinct elements", KDD 2014): each change
 * of a register counts one over its probability. Standard error 12 to 18 % up to 100,000 rows (measured), no bias. */
#ifndef MODELWARD_DISTINCT_H
#define MODELWARD_DISTINCT_H

#include "fingerprint.h"

static inline uint32_t mw_register(const mw_suspect *s, uint32_t i) {
    return mw_field_get(s->registers[i / 2]) >> 4 * (i % 2) & 15;
}

/* How many distinct rows this one is counted as: 0 for one that changes nothing. */
static inline float mw_distinct_count(mw_suspect *s, uint64_t row, uint64_t key) {
    const uint64_t h = mw_watch_mix(row ^ key);
    const uint32_t i = (uint32_t)(h & 31);
    uint32_t rank = 1;
    uint64_t rest = h >> 5;
    for (; rank < 15 && !(rest & 1); rank++) rest >>= 1;
    if (rank <= mw_register(s, i)) return 0.0f;
    float chance = 0.0f;
    for (uint32_t k = 0; k < 32; k++) {
        const uint32_t r = mw_register(s, k);
        if (r < 15) chance += 1.0f / (float)(1u << r);
    }
    const uint8_t pair = mw_field_get(s->registers[i / 2]);
    mw_field_set(s->registers[i / 2], (uint8_t)(i % 2 ? (pair & 15) | rank << 4 : (pair & 240) | rank));
    return chance > 0.0f ? 32.0f / chance : 0.0f;
}

#endif
