/* Budgets of answers: how many rows of one kind, or how large a sum, may be given out within a window of time.
 *
 * The window slides: 64 buckets, each a sixtieth of it long, of which the last 61 are added up, so that in no window is there
 * more than the budget. One word a bucket, changed by one compare-and-swap, is shared by all processes: what is taken is added
 * first and compared then, so that two that take the last of it at once are both refused and never both served. */
#ifndef MODELWARD_ANSWER_BUDGET_H
#define MODELWARD_ANSWER_BUDGET_H

#include <stdint.h>

#include "gcra.h"

enum {
    MW_WINDOW_BUCKETS = 64,
    MW_WINDOW_PARTS = 60,
    MW_SHARE_ROWS = 100, /* a share is one of at least so many rows: the first few answers of a window are no share */
};

#define MW_BUDGET_MOST (UINT64_C(1) << 30) /* rows of a budget; and a budget of a sum, in its units */
#define MW_WINDOW_COUNT (UINT64_C(1) << 40)

typedef struct { /* period, 24 bits, and the count in it, 40 bits: shared */
    uint64_t bucket[MW_WINDOW_BUCKETS];
} mw_window;

/* Rounded down to what is left where it would pass the word; a bucket of a period long ago begins again. */
static inline void mw_window_add(mw_window *w, uint64_t period, uint64_t n) {
    uint64_t *bucket = &w->bucket[period % MW_WINDOW_BUCKETS], stamp = period % (1 << 24) * MW_WINDOW_COUNT, after;
    uint64_t before = __atomic_load_n(bucket, __ATOMIC_RELAXED);
    do {
        uint64_t count = before / MW_WINDOW_COUNT == stamp / MW_WINDOW_COUNT ? before % MW_WINDOW_COUNT : 0;
        count = n < MW_WINDOW_COUNT - 1 - count ? count + n : MW_WINDOW_COUNT - 1;
        after = stamp + count;
    } while (!__atomic_compare_exchange_n(bucket, &before, after, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
}

static inline void mw_window_take_back(mw_window *w, uint64_t period, uint64_t n) {
    uint64_t *bucket = &w->bucket[period % MW_WINDOW_BUCKETS], stamp = period % (1 << 24), after;
    uint64_t before = __atomic_load_n(bucket, __ATOMIC_RELAXED);
    do {
        if (before / MW_WINDOW_COUNT != stamp) return; /* it has begun again meanwhile */
        after = before % MW_WINDOW_COUNT > n ? before - n : before - before % MW_WINDOW_COUNT;
    } while (!__atomic_compare_exchange_n(bucket, &before, after, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
}

/* In the window that ends now. 64 loads: about 20 ns. */
static inline uint64_t mw_window_total(const mw_window *w, uint64_t period) {
    uint64_t total = 0;
    for (unsigned i = 0; i < MW_WINDOW_BUCKETS; i++) {
        uint64_t word = __atomic_load_n(&w->bucket[i], __ATOMIC_ACQUIRE);
        uint64_t age = (period - word / MW_WINDOW_COUNT) % (1 << 24);
        total += age <= MW_WINDOW_PARTS ? word % MW_WINDOW_COUNT : 0;
    }
    return total;
}

typedef enum { MW_BUDGET_LABEL = 0, MW_BUDGET_ABOVE, MW_BUDGET_SUM } mw_budget_of;

typedef struct { /* as a version is configured */
    uint8_t of;  /* enum mw_budget_of: rows of that label, rows whose number is above, or the sum of the numbers */
    int64_t label;
    double above;
    uint64_t at_most;  /* rows; of a sum, MW_BUDGET_MOST; 0: any number, as long as the share is kept */
    double unit;       /* of a sum: what one unit is worth */
    double share;      /* of all rows; 0: any */
    int64_t part;      /* ns: a sixtieth of the window */
    mw_rate each;      /* of one caller (caller_share.h); interval 0: it may take all */
    uint64_t identity; /* of all above: what another configuration has counted is no part of this one's window */
} mw_budget;

typedef struct {       /* shared by all processes */
    uint64_t identity; /* of the budget whose next three these are, for who reads them without it; 0: none */
    uint64_t at_most;
    double share;
    int64_t part;
    mw_window taken, rows;
} mw_budget_state;

/* Which part of the budget is used in the window that ends now: 1 is all of it. */
static inline double mw_budget_used(const mw_budget_state *s, int64_t now) {
    if (!s->identity || s->part <= 0) return 0;
    uint64_t period = (uint64_t)(now / s->part);
    double taken = (double)mw_window_total(&s->taken, period), used = 0;
    if (s->at_most) used = taken / (double)s->at_most;
    if (s->share > 0) {
        uint64_t all = mw_window_total(&s->rows, period);
        double of_rows = taken / (s->share * (double)(all > MW_SHARE_ROWS ? all : MW_SHARE_ROWS));
        used = of_rows > used ? of_rows : used;
    }
    return used;
}

/* Of an answer that is not given out after all. */
static inline void mw_budget_give_back(const mw_budget *b, mw_budget_state *s, uint64_t amount, uint64_t rows,
                                       int64_t now) {
    uint64_t period = (uint64_t)(now / b->part);
    mw_window_take_back(&s->taken, period, amount);
    if (b->share > 0) mw_window_take_back(&s->rows, period, rows);
}

/* Takes `amount` (rows, or units) of an answer of so many rows. 0: it is over, and nothing is taken where `refuse` is set. */
static inline int mw_budget_take(const mw_budget *b, mw_budget_state *s, uint64_t amount, uint64_t rows, int refuse,
                                 int64_t now) {
    uint64_t period = (uint64_t)(now / b->part), taken, all;
    mw_window_add(&s->taken, period, amount);
    if (b->share > 0) mw_window_add(&s->rows, period, rows);
    if (!amount) return 1;
    taken = mw_window_total(&s->taken, period);
    int over = b->at_most && taken > b->at_most;
    if (b->share > 0) {
        all = mw_window_total(&s->rows, period);
        over |= (double)taken > b->share * (double)(all > MW_SHARE_ROWS ? all : MW_SHARE_ROWS);
    }
    if (over && refuse) mw_budget_give_back(b, s, amount, rows, now);
    return !over;
}

#endif
