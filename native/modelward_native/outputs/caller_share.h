/* What each caller may take of a budget of answers: so much at once, which comes back over the budget's window (limits/gcra.h).
 *
 * One table for each guarded output, of fixed size, shared by all processes without a lock. Where it is full of callers that
 * have taken something, newcomers share one allowance. */
#ifndef MODELWARD_CALLER_SHARE_H
#define MODELWARD_CALLER_SHARE_H

#include "answer_budget.h"

enum { MW_SHARE_BUCKETS = 1024 }; /* of four callers and 64 bytes; about half of the places can be used */

typedef struct { /* shared by all processes; zeroed before the first use */
    mw_gcra_shared clock;
    mw_gcra_bucket bucket[MW_SHARE_BUCKETS];
} mw_caller_shares;

/* table: of this process, over the shares, which it borrows. */
static inline void mw_caller_shares_open(mw_gcra *table, mw_caller_shares *shares) {
    static const uint64_t unused[2]; /* callers come as keyed hashes */
    mw_gcra_init(table, &shares->clock, shares->bucket, sizeof(shares->bucket), unused);
}

/* caller: a keyed hash. The budget's own is added, so that one caller has a share of each budget. */
static inline mw_claim mw_caller_claim(const mw_budget *b, uint64_t caller, uint64_t amount) {
    uint64_t hash = caller ^ b->identity;
    return (mw_claim){
        .rate = b->each, .hash = hash ? hash : 1, .cost = amount ? (int64_t)amount : 1, .level = MW_LEVEL_IDENTITY};
}

/* 0: the caller has taken its share, and this takes nothing. */
static inline int mw_caller_take(mw_gcra *table, const mw_budget *b, uint64_t caller, uint64_t amount, int64_t now) {
    int64_t retry;
    if (!b->each.interval_ns || !amount) return 1;
    mw_claim claim = mw_caller_claim(b, caller, amount);
    return mw_gcra_admit(table, &claim, 1, now, &retry) == MW_ADMITTED;
}

/* Of an answer that is not given out after all. */
static inline void mw_caller_give_back(mw_gcra *table, const mw_budget *b, uint64_t caller, uint64_t amount,
                                       int64_t now) {
    if (!b->each.interval_ns || !amount) return;
    mw_claim claim = mw_caller_claim(b, caller, amount);
    mw_gcra_settle(table, &claim, 0, now);
}

#endif
