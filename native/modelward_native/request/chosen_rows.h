/* Which rows of a large request are looked at: one of each stretch of so many, where its sender cannot guess. */
#ifndef MODELWARD_CHOSEN_ROWS_H
#define MODELWARD_CHOSEN_ROWS_H

#include <stdint.h>

/* Of stretch k of `step` rows; the last stretch may be shorter. seed: random, another one for each request. The mixing is that of
 * SplitMix64 (Steele, Lea and Flood, 2014). */
static inline int64_t mw_chosen_row(uint64_t seed, int64_t k, int64_t step, int64_t rows) {
    int64_t first = k * step, width = rows - first < step ? rows - first : step;
    if (width <= 1) return first;
    uint64_t z = seed + (uint64_t)k * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return first + (int64_t)((z ^ z >> 31) % (uint64_t)width);
}

#endif
