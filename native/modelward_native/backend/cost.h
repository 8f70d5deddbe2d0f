/* What a request will cost its backend: nanoseconds by the size of its message, learned from what requests took.
 *
 * Arithmetic only. For each power of two of bytes an exponentially weighted mean, of all samples at first and of about
 * MW_COST_MEMORY later. A sample counts as at most MW_COST_SURPRISE times the mean before it, so that one that lost its
 * core does not set the price of those after it. A size never seen costs what the next smaller one does in proportion
 * to the bytes, or what the next larger one does. */
#ifndef MODELWARD_COST_H
#define MODELWARD_COST_H

#include <stdint.h>

enum {
    MW_COST_SIZES = 32, /* 2^31 bytes: protobuf's own bound for a message */
    MW_COST_MEMORY = 16,
    MW_COST_SURPRISE = 8,
};

#define MW_COST_LEAST_NS INT64_C(5000)      /* no request costs less: what it costs here before its model runs */
#define MW_COST_UNKNOWN_NS INT64_C(1000000) /* of a model that has not run */
#define MW_COST_MOST_NS (INT64_C(1) << 40)  /* 18 minutes */

typedef struct {
    int64_t mean_ns[MW_COST_SIZES];
    uint8_t samples[MW_COST_SIZES]; /* at most MW_COST_MEMORY */
} mw_costs;

static inline int mw_cost_size(uint64_t bytes) {
    int b = bytes ? 64 - __builtin_clzll(bytes) : 0;
    return b < MW_COST_SIZES ? b : MW_COST_SIZES - 1;
}

static inline int64_t mw_cost_bounded(int64_t ns) {
    return ns < MW_COST_LEAST_NS ? MW_COST_LEAST_NS : ns > MW_COST_MOST_NS ? MW_COST_MOST_NS : ns;
}

/* Between MW_COST_LEAST_NS and MW_COST_MOST_NS. */
static inline int64_t mw_cost_predict(const mw_costs *c, uint64_t bytes) {
    int b = mw_cost_size(bytes), k;
    if (c->samples[b]) return mw_cost_bounded(c->mean_ns[b]);
    for (k = b - 1; k >= 0; k--)
        if (c->samples[k])
            return c->mean_ns[k] > MW_COST_MOST_NS >> (b - k) ? MW_COST_MOST_NS
                                                              : mw_cost_bounded(c->mean_ns[k] << (b - k));
    for (k = b + 1; k < MW_COST_SIZES; k++)
        if (c->samples[k]) return mw_cost_bounded(c->mean_ns[k]);
    return MW_COST_UNKNOWN_NS;
}

static inline void mw_cost_learn(mw_costs *c, uint64_t bytes, int64_t took_ns) {
    int b = mw_cost_size(bytes);
    int64_t sample = took_ns < 1 ? 1 : took_ns > MW_COST_MOST_NS ? MW_COST_MOST_NS : took_ns;
    if (c->samples[b] && sample > c->mean_ns[b] * MW_COST_SURPRISE) sample = c->mean_ns[b] * MW_COST_SURPRISE;
    if (c->samples[b] < MW_COST_MEMORY) c->samples[b]++;
    c->mean_ns[b] += (sample - c->mean_ns[b]) / c->samples[b];
    if (c->mean_ns[b] < 1) c->mean_ns[b] = 1;
}

#endif
