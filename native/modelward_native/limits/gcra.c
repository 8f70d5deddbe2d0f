/* Rates, and the levels of a request judged and charged by them. */
#include "gcra.h"

#include <math.h>
#include <string.h>

#include "gcra_table.h"
#include "sip.h"

/* Now and every TAT stay below this, so no sum of a time, a tolerance and an interval can overflow. Reached only by
 * a clock that leaps forward by years 64 times; from then on the table's time stands still and limits refuse. */
#define LAST_NS (INT64_C(1) << 62)

_Static_assert(sizeof(mw_gcra_bucket) == 64, "a bucket is one cache line");
_Static_assert(sizeof(mw_gcra_shared) == 64, "and so is what goes with all of them");

int mw_rate_make(double requests_per_second, int64_t burst, mw_rate *out) {
    if (!(requests_per_second > 0) || isinf(requests_per_second) || burst < 1) return -1;
    double interval = 1e9 / requests_per_second;
    if (interval > (double)MW_GCRA_LONGEST_NS) return -1;
    int64_t interval_ns = interval < 1 ? 1 : (int64_t)(interval + 0.5), tolerance_ns;
    if (__builtin_mul_overflow(burst - 1, interval_ns, &tolerance_ns) || tolerance_ns > MW_GCRA_LONGEST_NS)
        tolerance_ns = MW_GCRA_LONGEST_NS;
    *out = (mw_rate){interval_ns, tolerance_ns, tolerance_ns + interval_ns, 0};
    return 0;
}

int mw_rate_make_timed(double share, int64_t burst_ns, mw_rate *out) {
    if (!(share >= 1e-6 && share <= (double)(1 << MW_TIME_SHIFT)) || burst_ns < 1) return -1;
    double burst = (double)burst_ns / share, most = burst + (double)MW_OVERDRAFT_NS / share,
           longest = (double)MW_GCRA_LONGEST_NS;
    *out = (mw_rate){(int64_t)((double)(1 << MW_TIME_SHIFT) / share + 0.5),
                     (int64_t)(burst < longest ? burst : longest), (int64_t)(most < longest ? most : longest), 1};
    return 0;
}

size_t mw_gcra_size(uint64_t keys) {
    if (keys == 0 || keys > UINT64_C(1) << 32) return 0;
    uint64_t buckets = 2; /* at least two, so that a key's two buckets can differ */
    while (buckets * MW_GCRA_WAYS < keys * 2) buckets *= 2;
    return buckets * sizeof(mw_gcra_bucket);
}

void mw_gcra_init(mw_gcra *table, mw_gcra_shared *shared, void *buckets, size_t size, const uint64_t sip_key[2]) {
    memset(table, 0, sizeof *table);
    table->shared = shared;
    table->bucket = buckets;
    table->mask = size / sizeof(mw_gcra_bucket) - 1;
    table->sip_key[0] = sip_key[0];
    table->sip_key[1] = sip_key[1];
}

/* ---- SipHash-1-3 (sip.h) ---- */

uint64_t mw_gcra_hash(const uint64_t sip_key[2], mw_level level, const void *key, size_t size) {
    uint64_t v[4], word = 0;
    const uint8_t *at = key;
    mw_sip_begin(v, sip_key);
    mw_sip_word(v, (uint64_t)level, 1);
    for (size_t left = size; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        mw_sip_word(v, word, 1);
    }
    word = 0;
    if (size % 8) memcpy(&word, at, size % 8);
    mw_sip_word(v, word | (uint64_t)(size + 8) << 56, 1);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) mw_sip_round(v);
    uint64_t hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    return hash ? hash : 1;
}

/* ---- time ---- */

/* The latest time that any process has judged by, at least `now`. No key's debts lie further ahead of it than its rate can
 * push them, however old the reading is that another process goes by. */
static int64_t latest(mw_gcra *table, int64_t now) {
    int64_t before = seen(&table->shared->latest_ns);
    while (before < now && !replaced(&table->shared->latest_ns, before, now)) before = seen(&table->shared->latest_ns);
    return before < now ? now : before;
}

static int64_t move_time(mw_gcra *table, int64_t now_ns) {
    int64_t step;
    if (__builtin_sub_overflow(now_ns, table->seen_ns, &step))
        step = now_ns > table->seen_ns ? MW_GCRA_LONGEST_NS : INT64_MIN;
    if (step > 0) {
        if (step > MW_GCRA_LONGEST_NS) step = MW_GCRA_LONGEST_NS;
        table->now_ns = table->now_ns > LAST_NS - step ? LAST_NS : table->now_ns + step;
        table->seen_ns = now_ns;
    } else if (step < -MW_GCRA_HOLD_NS) {
        table->seen_ns = now_ns;
    }
    return latest(table, table->now_ns);
}

/* ---- the algorithm ---- */

/* The TAT in a cell, or `now` if that is later. One further ahead than this rate can push it was run up under a slower
 * rate (before a reload): it is cut to that, for good, so that such debt does not outlive its rate. */
static inline int64_t debt(mw_gcra *table, int64_t *cell, mw_rate rate, int64_t now) {
    int64_t tat = seen(cell);
    if (tat <= now + rate.most_ns) return tat > now ? tat : now;
    int64_t most = latest(table, now) + rate.most_ns; /* read after the TAT, so it covers the process that charged it */
    if (tat > most && replaced(cell, tat, most)) return most;
    return tat < most ? tat : most;
}

/* How far a cost pushes the TAT: at most as far as it may lie ahead, or INT64_MAX for more requests than the burst. */
static inline int64_t charge_of(mw_rate rate, int64_t cost) {
    if (rate.timed) {
        __int128 charge = (__int128)cost * rate.interval_ns >> MW_TIME_SHIFT;
        return charge < rate.most_ns ? (int64_t)charge : rate.most_ns;
    }
    int64_t charge;
    if (__builtin_mul_overflow(cost, rate.interval_ns, &charge) || charge - rate.interval_ns > rate.tolerance_ns)
        return INT64_MAX;
    return charge;
}

/* 0 if a charge conforms now. Requests do if the last of them, one interval after another, is within the tolerance;
 * backend time does if the debt is then within the burst, or there is no debt yet. */
static inline int64_t wait_for(int64_t owed_until, mw_rate rate, int64_t charge, int64_t now) {
    if (charge == INT64_MAX) return MW_RETRY_NEVER;
    int64_t ahead = rate.timed ? (charge < rate.tolerance_ns ? charge : rate.tolerance_ns) : charge - rate.interval_ns;
    int64_t wait = owed_until - now + ahead - rate.tolerance_ns;
    return wait > 0 ? wait : 0;
}

/* ---- what a key owes ---- */

/* Until when a key owes: as its slot says, now where it has room for one, else as its level's overflow cell says. */
static inline int64_t debt_of(mw_gcra *table, uint64_t hash, mw_level level, mw_rate rate, int64_t now) {
    mw_gcra_slot *slot = find(table, hash);
    int taken;
    if (slot) return debt(table, &slot->tat_ns, rate, now);
    return slot_for(table, hash, now, &taken) ? now : debt(table, &table->shared->overflow_tat_ns[level], rate, now);
}

int64_t mw_gcra_peek(mw_gcra *table, mw_rate rate, uint64_t hash, mw_level level, int64_t now_ns) {
    if (rate.interval_ns == 0) return 0;
    int64_t now = move_time(table, now_ns);
    return wait_for(debt_of(table, hash, level, rate, now), rate, charge_of(rate, 1), now);
}

/* ---- charging ---- */

static inline mw_rate rate_of(const mw_claim *claim) {
    mw_rate rate = claim->meter ? claim->meter->rate : claim->rate;
    if (claim->account) rate.most_ns = rate.most_ns * MW_SHARED_BURSTS + MW_SHARED_DEBT_NS; /* < 2^61 */
    return rate;
}

/* How far a charge moves the TAT: further where others spend of the same limit. */
static inline int64_t push_of(const mw_claim *claim, int64_t charge) {
    return claim->account ? mw_account_pushed(claim->account, charge) : charge;
}

/* The TAT after a charge, whatever the limit says of it. */
static inline int64_t overdrawn(int64_t owed_until, mw_rate rate, int64_t charge, int64_t now) {
    int64_t tat = owed_until + charge;
    return tat < now + rate.most_ns ? tat : now + rate.most_ns;
}

/* 0 if the TAT was pushed, else how long to wait until the charge conforms; forced: it does in any case. */
static int64_t charge_cell(mw_gcra *table, int64_t *cell, mw_rate rate, int64_t charge, int64_t push, int forced,
                           int64_t now) {
    for (;;) {
        int64_t before = seen(cell), tat = debt(table, cell, rate, now),
                wait = forced ? 0 : wait_for(tat, rate, charge, now);
        if (wait) return wait;
        if (replaced(cell, before, overdrawn(tat, rate, push, now))) return 0;
    }
}

/* The cell that was charged in *cell; NULL where it was a slot. */
static int64_t charge_key(mw_gcra *table, const mw_claim *claim, int64_t charge, int64_t push, int forced, int64_t now,
                          int64_t **cell) {
    mw_rate rate = rate_of(claim);
    *cell = NULL;
    for (;;) {
        mw_gcra_slot *slot = find(table, claim->hash), before;
        int64_t tat = now, wait;
        int taken;
        if (slot == NULL) {
            slot = slot_for(table, claim->hash, now, &taken);
            if (slot == NULL) {
                __atomic_fetch_add(&table->shared->overflowed, 1, __ATOMIC_RELAXED);
                *cell = &table->shared->overflow_tat_ns[claim->level];
                return charge_cell(table, *cell, rate, charge, push, forced, now);
            }
            if (taken) {
                move(table, slot, now);
                continue;
            }
            before = slot_seen(slot);
            if (before.tat_ns > now) continue;
        } else {
            before = slot_seen(slot);
            if (before.tag != claim->hash) continue;
            tat = debt(table, &slot->tat_ns, rate, now);
        }
        wait = forced ? 0 : wait_for(tat, rate, charge, now);
        if (wait) return wait;
        if (slot_replaced(slot, before, (mw_gcra_slot){claim->hash, overdrawn(tat, rate, push, now)})) return 0;
    }
}

static void give_back(mw_gcra *table, const mw_claim *claim, int64_t *cell, int64_t charged) {
    if (cell) {
        __atomic_fetch_sub(cell, charged, __ATOMIC_SEQ_CST);
        return;
    }
    for (;;) {
        mw_gcra_slot *slot = find(table, claim->hash);
        if (slot == NULL) return;
        mw_gcra_slot before = slot_seen(slot);
        if (before.tag == claim->hash &&
            slot_replaced(slot, before, (mw_gcra_slot){before.tag, before.tat_ns - charged}))
            return;
    }
}

/* What became of a request, where others have to know. */
static void book(const mw_claim *claims, int count, const int64_t *charge, int refused_by) {
    if (refused_by != MW_ADMITTED) {
        const mw_claim *claim = &claims[refused_by];
        if (claim->account && charge[refused_by] != INT64_MAX)
            mw_account_want(claim->account, charge[refused_by], rate_of(claim).most_ns);
        return;
    }
    for (int i = 0; i < count; i++)
        if (claims[i].account) mw_account_spend(claims[i].account, charge[i], rate_of(&claims[i]).most_ns);
}

/* Which claim refuses, with its wait in *longest, and what each would be charged. */
static inline int judge(mw_gcra *table, const mw_claim *claims, int count, int64_t now, int64_t *charge,
                        int64_t *longest) {
    int refused_by = MW_ADMITTED;

    for (int i = 0; i < count; i++)
        if (claims[i].meter == NULL && claims[i].rate.interval_ns != 0) mw_gcra_prefetch(table, claims[i].hash);

    for (int i = 0; i < count; i++) {
        const mw_claim *claim = &claims[i];
        mw_rate rate = rate_of(claim);
        if (rate.interval_ns == 0) continue;
        int64_t tat = claim->meter ? debt(table, claim->meter->tat_ns, rate, now)
                                   : debt_of(table, claim->hash, claim->level, rate, now);
        charge[i] = charge_of(rate, claim->cost);
        int64_t wait = wait_for(tat, rate, charge[i], now);
        if (wait > *longest) {
            *longest = wait;
            refused_by = i;
        }
    }
    return refused_by;
}

int mw_gcra_would_admit(mw_gcra *table, const mw_claim *claims, int count, int64_t now_ns, int64_t *retry_ns) {
    int64_t charge[MW_GCRA_MAX_CLAIMS] = {0}, longest = 0;
    int refused_by = judge(table, claims, count, move_time(table, now_ns), charge, &longest);
    if (refused_by != MW_ADMITTED) *retry_ns = longest;
    return refused_by;
}

int mw_gcra_admit(mw_gcra *table, const mw_claim *claims, int count, int64_t now_ns, int64_t *retry_ns) {
    int64_t now = move_time(table, now_ns), longest = 0;
    int64_t *charged[MW_GCRA_MAX_CLAIMS], charge[MW_GCRA_MAX_CLAIMS] = {0}, push[MW_GCRA_MAX_CLAIMS];
    int refused_by = judge(table, claims, count, now, charge, &longest);

    for (int i = 0; i < count && refused_by == MW_ADMITTED; i++) {
        const mw_claim *claim = &claims[i];
        mw_rate rate = rate_of(claim);
        charged[i] = claim->meter ? claim->meter->tat_ns : NULL;
        if (rate.interval_ns == 0) continue;
        push[i] = push_of(claim, charge[i]);
        longest = claim->meter ? charge_cell(table, charged[i], rate, charge[i], push[i], 0, now)
                               : charge_key(table, claim, charge[i], push[i], 0, now, &charged[i]);
        if (longest == 0) continue;
        refused_by = i;
        while (i-- > 0)
            if (rate_of(&claims[i]).interval_ns != 0) give_back(table, &claims[i], charged[i], push[i]);
        break;
    }
    book(claims, count, charge, refused_by);
    if (refused_by != MW_ADMITTED) *retry_ns = longest;
    return refused_by;
}

void mw_gcra_settle(mw_gcra *table, const mw_claim *claim, int64_t cost, int64_t now_ns) {
    mw_rate rate = rate_of(claim);
    if (rate.interval_ns == 0) return;
    int64_t now = move_time(table, now_ns), more = charge_of(rate, cost) - charge_of(rate, claim->cost), *cell;
    int64_t push = push_of(claim, more);
    if (more > 0 && claim->meter) charge_cell(table, claim->meter->tat_ns, rate, more, push, 1, now);
    else if (more > 0) charge_key(table, claim, more, push, 1, now, &cell);
    else if (more < 0) give_back(table, claim, claim->meter ? claim->meter->tat_ns : NULL, -push);
    if (claim->account) mw_account_spend(claim->account, more, rate.most_ns);
}

/* ---- shared limits ---- */

void mw_gcra_follow(mw_gcra *table, const mw_account *account, int64_t *tat_ns, int64_t ahead_ns, int64_t at_ns,
                    int64_t now_ns) {
    int64_t now = move_time(table, now_ns), most = now + __atomic_load_n(&account->most_ns, __ATOMIC_RELAXED), tat,
            before;
    int taken;
    for (;;) {
        mw_gcra_slot *slot = NULL, owing;
        if (tat_ns) before = seen(tat_ns);
        else if ((slot = find(table, account->hash)) != NULL) owing = slot_seen(slot);
        /* after the TAT: a request that pushes it in between is found out below, one before is booked or about to be */
        tat = at_ns + ahead_ns + mw_account_pushed(account, __atomic_load_n(&account->spent_ns, __ATOMIC_ACQUIRE));
        if (tat > most) tat = most;
        if (tat_ns) {
            if (replaced(tat_ns, before, tat)) return;
            continue;
        }
        if (slot == NULL) {
            if (tat <= now || (slot = slot_for(table, account->hash, now, &taken)) == NULL || taken) return;
            owing = slot_seen(slot);
            if (owing.tat_ns > now) continue;
        } else if (owing.tag != account->hash) {
            continue;
        }
        if (slot_replaced(slot, owing, (mw_gcra_slot){account->hash, tat})) return;
    }
}

/* ---- how many owe ---- */

uint64_t mw_gcra_owing(const mw_gcra *table, size_t first, size_t count, int64_t now_ns) {
    uint64_t owing = 0;
    for (const mw_gcra_bucket *bucket = table->bucket + first; bucket < table->bucket + first + count; bucket++)
        for (int way = 0; way < MW_GCRA_WAYS; way++) owing += seen(&bucket->slot[way].tat_ns) > now_ns;
    return owing;
}
