/* Means of an output over windows of time, and whether the last one is unlike those before it.
 *
 * The rows of a window are not independent (clients come in bursts, and repeat themselves), so the means of whole windows are
 * compared: with the mean of those before it, in their own standard deviations, by Student's t for one more observation. Where
 * the means of windows are alike and about normal, the chance of a false alarm is that of the threshold. */
#ifndef MODELWARD_MEAN_H
#define MODELWARD_MEAN_H

#include <math.h>
#include <stdint.h>

enum {
    MW_MEAN_WINDOWS = 60, /* that are remembered */
    MW_MEAN_LEAST = 30,   /* without so many none is judged: the threshold is for them, and is too high for more */
};

typedef struct {    /* as a version is configured */
    int64_t window; /* ns */
    uint64_t rows;  /* a window of fewer is neither judged nor remembered */
    double change;  /* a mean that differs by less is no violation, however unlikely it is */
    double threshold;
    uint32_t column; /* of a row of several numbers */
} mw_mean;

typedef struct {         /* of one version; shared by all processes */
    uint64_t version;    /* which, as a hash of it and of the configuration */
    int64_t used;        /* counts up: the version that was given its place first loses it first */
    uint64_t period;     /* of the window that is being added up */
    uint64_t rows;       /* in it */
    double sum;          /* of them */
    uint64_t alarmed;    /* 1: the window before it was unlike those before that */
    uint64_t remembered; /* windows, of which the last MW_MEAN_WINDOWS count */
    double mean[MW_MEAN_WINDOWS];
    double last, expected; /* of the window that was judged last */
} mw_mean_state;

static inline void mw_mean_add_sum(double *sum, double value) {
    uint64_t before, after;
    double total;
    __atomic_load((uint64_t *)sum, &before, __ATOMIC_RELAXED);
    do {
        __builtin_memcpy(&total, &before, sizeof total);
        total += value;
        __builtin_memcpy(&after, &total, sizeof after);
    } while (!__atomic_compare_exchange((uint64_t *)sum, &before, &after, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

/* The window that has ended. Called by the one process that has closed it. */
static inline void mw_mean_judge(const mw_mean *m, mw_mean_state *s, double mean) {
    uint64_t count = s->remembered < MW_MEAN_WINDOWS ? s->remembered : MW_MEAN_WINDOWS;
    double sum = 0, squares = 0;
    uint64_t alarmed = 0;
    if (count >= MW_MEAN_LEAST) {
        for (uint64_t i = 0; i < count; i++) sum += s->mean[i];
        double expected = sum / (double)count;
        for (uint64_t i = 0; i < count; i++) squares += (s->mean[i] - expected) * (s->mean[i] - expected);
        double deviation = sqrt(squares / (double)(count - 1) * (1 + 1 / (double)count)), by = fabs(mean - expected);
        alarmed = by > m->change && by > m->threshold * deviation && by > 1e-9 * fabs(expected);
        s->expected = expected;
    }
    s->last = mean;
    __atomic_store_n(&s->alarmed, alarmed, __ATOMIC_RELEASE);
    if (alarmed) return; /* what is unlike the others does not become what others are compared with */
    s->mean[s->remembered % MW_MEAN_WINDOWS] = mean;
    s->remembered++;
}

/* Adds the rows of an answer, whose numbers are finite, and tells whether the output is alarmed. */
static inline int mw_mean_add(const mw_mean *m, mw_mean_state *s, double sum, uint64_t rows, int64_t now) {
    uint64_t period = (uint64_t)(now / m->window), open = __atomic_load_n(&s->period, __ATOMIC_ACQUIRE);
    if (period > open &&
        __atomic_compare_exchange_n(&s->period, &open, period, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        uint64_t all = __atomic_exchange_n(&s->rows, 0, __ATOMIC_ACQ_REL), bits = 0, nothing = 0;
        double total;
        __atomic_exchange((uint64_t *)&s->sum, &nothing, &bits, __ATOMIC_ACQ_REL);
        __builtin_memcpy(&total, &bits, sizeof total);
        if (open && all >= m->rows && isfinite(total)) mw_mean_judge(m, s, total / (double)all);
    }
    if (rows) {
        mw_mean_add_sum(&s->sum, sum);
        __atomic_fetch_add(&s->rows, rows, __ATOMIC_RELAXED);
    }
    return (int)__atomic_load_n(&s->alarmed, __ATOMIC_ACQUIRE);
}

#endif
