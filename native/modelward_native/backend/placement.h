/* Where a model's next run may happen: on the loop, which all models share, or in its own worker thread.
 *
 * Arithmetic only. What is known of a model is the worst recent time of a run for each power of two of its input bytes,
 * decaying by a sixteenth with every run of that size: a run costs as much as its inputs are large, whether they are many rows
 * or one long one. A size never seen is extrapolated from the next smaller one, linearly in rows, quadratically where a
 * dimension other than the first may grow (attention). */
#ifndef MODELWARD_PLACEMENT_H
#define MODELWARD_PLACEMENT_H

#include <stdint.h>

enum {
    MW_PLACEMENT_SIZES = 40, /* 2^39 bytes: far above any message */
    MW_INLINE_NS = 250000,   /* a run this short may hold the loop: what reading one full socket buffer costs */
    MW_STRIKE_NS = 1000000,  /* one on the loop that took this long was a misjudgement, or lost its core */
    MW_EXILE_RUNS = 64,
    MW_FORGIVE_RUNS = 4096,
    MW_MOST_STRIKES = 20,
};

typedef struct {
    int64_t estimate[MW_PLACEMENT_SIZES]; /* ns; 0: never seen */
    int64_t exile; /* short runs that must still happen in the worker thread before the model returns to the loop */
    uint64_t well_behaved; /* short runs on the loop since the last strike was forgiven */
    int strikes;
    int banned;    /* its time depends on the values of its inputs: never on the loop */
    int quadratic; /* a dimension other than the first is dynamic */
} mw_placement;

static inline int mw_placement_size(uint64_t bytes) {
    int b = bytes ? 64 - __builtin_clzll(bytes) : 0;
    return b < MW_PLACEMENT_SIZES ? b : MW_PLACEMENT_SIZES - 1;
}

/* Nanoseconds that a run of that many input bytes will take at worst, as far as is known; INT64_MAX where nothing is. */
static inline int64_t mw_placement_predict(const mw_placement *p, uint64_t bytes) {
    int b = mw_placement_size(bytes), k;
    if (p->banned || p->exile > 0) return INT64_MAX;
    if (p->estimate[b]) return p->estimate[b];
    for (k = b - 1; k >= 0; k--)
        if (p->estimate[k]) {
            int shift = (b - k) * (p->quadratic ? 2 : 1);
            return shift < 20 ? p->estimate[k] << shift : INT64_MAX;
        }
    for (k = b + 1; k < MW_PLACEMENT_SIZES; k++)
        if (p->estimate[k]) return p->estimate[k];
    return INT64_MAX;
}

/* A surprise on the loop: each one doubles how long the model must prove itself in the worker thread. */
static inline void mw_placement_strike(mw_placement *p) {
    if (p->strikes < MW_MOST_STRIKES) p->strikes++;
    p->exile = (int64_t)MW_EXILE_RUNS << p->strikes;
    p->well_behaved = 0;
}

static inline void mw_placement_learn(mw_placement *p, uint64_t bytes, int64_t took_ns, int on_loop) {
    int64_t *e = &p->estimate[mw_placement_size(bytes)];
    int64_t decayed = *e - (*e >> 4);
    *e = took_ns > decayed ? took_ns : decayed;
    if (*e < 1) *e = 1;
    if (on_loop && took_ns > MW_STRIKE_NS) {
        mw_placement_strike(p);
    } else if (on_loop) {
        if (++p->well_behaved >= MW_FORGIVE_RUNS && p->strikes) {
            p->strikes--;
            p->well_behaved = 0;
        }
    } else if (p->exile > 0 && took_ns <= MW_INLINE_NS) {
        p->exile--;
    }
}

#endif
