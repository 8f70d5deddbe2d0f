/* How many requests one backend may have at a time: an adaptive limit, learned from its latency.
 *
 * Sources: the gradient of Netflix's concurrency-limits and of Envoy's adaptive concurrency filter:
 *
 *     limit <- limit * clamp((1.25 * least + slack) / latency, 0.5, 1) + sqrt(limit)
 *
 * where `least` is the latency of a backend that nothing waits in, and `latency` the median of a window. What differs:
 * the slack, without which the jitter of a fast backend would throttle it; and how `least` is kept true under lasting
 * load, when every window has a queue in it. Envoy lets three requests in until it has measured; here the limit is halved,
 * and halved again as long as that makes the latency fall, so that the queue runs dry and the backend hardly does.
 *
 * The limit grows only where it was reached, and for longer than a burst takes to come, since a latency says nothing about a
 * concurrency that never was. Arithmetic only: time is an argument. */
#ifndef MODELWARD_CONCURRENCY_H
#define MODELWARD_CONCURRENCY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum {
    MW_WINDOW_SAMPLES = 64, /* the last ones of a window; its median is taken */
    MW_WINDOW_FEWEST = 8,
};

#define MW_WINDOW_NS INT64_C(50000000)
#define MW_EPOCH_NS INT64_C(10000000000) /* a least latency is believed for one to two of these */
#define MW_FIRST_EPOCH_NS INT64_C(1000000000)
#define MW_SLACK_NS INT64_C(3000000)
#define MW_TOLERANCE 1.25

typedef struct {
    double limit;
    double floor, ceiling; /* equal where the limit is fixed */
    uint32_t inflight;
    uint32_t most;    /* in flight at once in this window */
    int64_t window;   /* ns: when it began; 0 before the first */
    uint64_t samples; /* of this window, kept or not */
    int64_t sample[MW_WINDOW_SAMPLES];
    int64_t filled;              /* ns: the last completion, if at least half of the limit was in flight; else 0 */
    int64_t busy;                /* ns: between such completions, in this window */
    uint64_t completions;        /* that many */
    int64_t least, least_before; /* ns: of this epoch and of the one before; INT64_MAX: none */
    int64_t epoch;               /* ns: when it began */
    int probing;                 /* how often the limit is halved, to measure the least latency */
    int reached;                 /* the limit was reached in the window before */
    int64_t probed;              /* ns: latency of the probe before */
    uint32_t stale;              /* requests in flight that began before the limit was last halved */
    int crowded;                 /* every window of this epoch had the limit reached */
    int64_t latency;             /* ns: median of the last window; 0: not known */
    double interval;             /* ns between two completions while the backend is busy; 0: not known */
} mw_concurrency;

static inline void mw_concurrency_init(mw_concurrency *c, double initial, double floor, double ceiling) {
    memset(c, 0, sizeof *c);
    c->limit = initial < floor ? floor : initial > ceiling ? ceiling : initial;
    c->floor = floor;
    c->ceiling = ceiling;
    c->least = c->least_before = INT64_MAX;
}

static inline uint32_t mw_concurrency_limit(const mw_concurrency *c) {
    uint32_t limit = (uint32_t)c->limit >> c->probing;
    return limit < 1 ? 1 : limit;
}

static inline int mw_concurrency_free(const mw_concurrency *c) { return c->inflight < mw_concurrency_limit(c); }

static inline void mw_concurrency_enter(mw_concurrency *c) {
    if (++c->inflight > c->most) c->most = c->inflight;
}

static inline int64_t mw_median(int64_t *values, uint32_t n) { /* orders them: insertion sort of at most 64 */
    for (uint32_t i = 1; i < n; i++) {
        int64_t v = values[i];
        uint32_t k = i;
        for (; k > 0 && values[k - 1] > v; k--) values[k] = values[k - 1];
        values[k] = v;
    }
    return values[n / 2];
}

static inline void mw_concurrency_probe(mw_concurrency *c, int64_t latency) {
    int falling = c->probing == 0 || latency < c->probed - c->probed / 5;
    if (c->probing && latency < c->least) c->least = latency;
    c->probed = latency;
    c->probing = falling && mw_concurrency_limit(c) > 1 ? c->probing + 1 : 0;
    c->stale = c->probing ? c->inflight : 0;
}

static inline void mw_concurrency_adapt(mw_concurrency *c, int64_t now_ns) {
    uint32_t kept = c->samples < MW_WINDOW_SAMPLES ? (uint32_t)c->samples : MW_WINDOW_SAMPLES;
    int64_t latency = mw_median(c->sample, kept);
    c->latency = latency;
    int reached = c->most >= mw_concurrency_limit(c);
    if (c->probing) {
        mw_concurrency_probe(c, latency);
    } else {
        if (latency < c->least) c->least = latency;
        int64_t least = c->least < c->least_before ? c->least : c->least_before;
        double gradient = (MW_TOLERANCE * (double)least + (double)MW_SLACK_NS) / (double)(latency > 0 ? latency : 1);
        gradient = gradient < 0.5 ? 0.5 : gradient > 1 ? 1 : gradient;
        if (reached) {
            if (c->completions >= MW_WINDOW_FEWEST) c->interval = (double)c->busy / (double)c->completions;
            double next = gradient * c->limit + sqrt(c->limit);
            /* up in the second window: the first answers to a burst are quick, whatever its last ones will be; down
             * slowly: a window may have been unlucky */
            if (next <= c->limit) c->limit = 0.8 * c->limit + 0.2 * next;
            else if (c->reached) c->limit = next;
        }
        if (c->limit < c->floor) c->limit = c->floor;
        if (c->limit > c->ceiling) c->limit = c->ceiling;
        if (!reached) c->crowded = 0;
    }
    c->reached = reached;
    if (!c->probing && now_ns - c->epoch >= MW_EPOCH_NS) {
        c->least_before = c->least;
        c->least = INT64_MAX;
        if (c->crowded && c->floor < c->ceiling) {
            c->least_before = INT64_MAX; /* it had a queue in it */
            mw_concurrency_probe(c, latency);
        }
        c->epoch = now_ns;
        c->crowded = 1;
    }
    c->window = now_ns;
    c->samples = c->completions = 0;
    c->busy = 0;
    c->most = c->inflight;
}

/* One request has left after latency_ns with the backend; negative where that says nothing (its client went away). */
static inline void mw_concurrency_leave(mw_concurrency *c, int64_t latency_ns, int64_t now_ns) {
    /* half, since all who leave in one tick leave before others are let in */
    int full = 2 * c->inflight >= mw_concurrency_limit(c);
    if (full && c->filled) {
        c->busy += now_ns - c->filled;
        c->completions++;
    }
    c->filled = full ? now_ns : 0;
    c->inflight--;
    if (c->window == 0) {
        c->window = now_ns;
        c->epoch = now_ns - MW_EPOCH_NS + MW_FIRST_EPOCH_NS;
        c->crowded = 1;
    }
    if (latency_ns < 0 && c->stale == 0) return;
    if (c->stale > 0) {
        c->stale--;
        return;
    }
    c->sample[c->samples++ % MW_WINDOW_SAMPLES] = latency_ns;
    if (now_ns - c->window >= MW_WINDOW_NS && c->samples >= MW_WINDOW_FEWEST) mw_concurrency_adapt(c, now_ns);
}

#endif
