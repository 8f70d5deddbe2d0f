/* A fault that is no caller's doing: a service before all of them breaks, and rows of most become implausible, or very unlike the
 * training data, at once. Such rows are then usual, for a time.
 *
 * Only identities that have a history and are quiet count, each once at a time, so that new names add nothing. One counts once
 * its own rows of that kind come close together: a single one is no sign. At least half of those that ask must have it, so that
 * accounts of one owner make no fault. docs/design/suspicion.md has the reasons, and what an owner of half of them gains. */
#ifndef MODELWARD_FAULT_H
#define MODELWARD_FAULT_H

#include <string.h>

#include "fingerprint.h"

enum {
    FAULT_WINDOW = 3000, /* tenths of a second */
    FAULT_FOR = 6000,    /* likewise */
    FAULT_REACH = 6000,  /* so long before it was known, likewise, those that it raised are forgiven */
    FAULT_LEAST = 5,     /* identities that fail in two windows, and at least half of those that ask in one */
    FAULT_SLOW = 64,     /* in so many windows what is usual falls to a third */
    FAULT_WHOLE = 256,   /* one identity, in mw_watch_faults.usual */

    /* Sixteenths of a nat: from which a row of a cell is very unlike others there; what each row takes from a sign; from which sign
     * an identity fails, from which its evidence may be the fault's, and the largest. */
    FAULT_FAR = 80,
    FAULT_EACH = 7,
    FAULT_MARK = 72,
    FAULT_SOME = 16,
    FAULT_MOST = 128,
    FAULT_NONE = -1,
};

/* Nats that are left of evidence that is forgiven. */
static const float FAULT_LEFT = 4.6f;

/* Whether it was not there. Exactly one of several processes is told so. */
static inline int mw_fault_add(uint64_t set[MW_FAULT_NAMES / 64], uint32_t who) {
    uint64_t *word = &set[who % MW_FAULT_NAMES / 64];
    const uint64_t bit = UINT64_C(1) << who % 64;
    return !(mw_field_get(*word) & bit) && !(__atomic_fetch_or(word, bit, __ATOMIC_RELAXED) & bit);
}

static inline void mw_fault_clear(uint64_t set[MW_FAULT_NAMES / 64]) {
    for (int i = 0; i < MW_FAULT_NAMES / 64; i++) mw_field_set(set[i], 0);
}

static inline int mw_fault_is(const mw_watch_faults *f, uint32_t failed) {
    const uint32_t asked = mw_field_get(f->asked_count) * FAULT_WHOLE, usual = mw_field_get(f->usual);
    return failed >= FAULT_LEAST && 2 * failed * FAULT_WHOLE >= (asked > usual ? asked : usual);
}

/* A quiet, established identity asks. What is usual falls by half in 44 windows, so that no night makes few accounts many. */
static inline void mw_fault_asked(mw_watch_faults *f, uint32_t who, uint32_t now) {
    const uint32_t window = now / FAULT_WINDOW;
    uint32_t before = mw_field_get(f->window);
    if ((int32_t)(window - before) > 0 &&
        __atomic_compare_exchange_n(&f->window, &before, window, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        const uint32_t usual = mw_field_get(f->usual), fallen = usual - usual / FAULT_SLOW;
        const uint32_t asked = mw_field_get(f->asked_count) * FAULT_WHOLE;
        mw_field_set(f->usual, asked > fallen ? asked : fallen);
        mw_fault_clear(f->asked);
        mw_field_set(f->asked_count, 0);
        for (int k = 0; k < MW_FAULT_KINDS && window / 2 != before / 2; k++) {
            mw_fault_clear(f->kind[k].failed);
            mw_field_set(f->kind[k].failed_count, 0);
        }
    }
    if (mw_fault_add(f->asked, who)) __atomic_fetch_add(&f->asked_count, 1, __ATOMIC_RELAXED);
}

/* What the identity's rows of one kind are worth, were nothing tolerated; rows of another kind are left out. s: sixteenths of a
 * nat. own: the identity's mean, as its record has it. */
static inline int mw_fault_sign(uint8_t *sign, uint32_t s, uint32_t own) {
    const int before = mw_field_get(*sign), gain = (int)(s * 17 * (MW_OWN / 64) / (own > MW_OWN ? own : MW_OWN));
    const int sum = before + gain - FAULT_EACH, after = sum < 0 ? 0 : sum > FAULT_MOST ? FAULT_MOST : sum;
    if (after != before) mw_field_set(*sign, (uint8_t)after);
    return after;
}

static inline void mw_fault_forgive(mw_watch_shared *m, mw_watch_fault *f, uint32_t now) {
    for (int i = 0; i < MW_FAULT_RAISED; i++) {
        const mw_fault_raised r = f->raised[i];
        mw_suspect *s = (mw_suspect *)((char *)m + r.record);
        if (!r.key || now - r.at > FAULT_REACH) continue;
        memset(&f->raised[i], 0, sizeof f->raised[i]);
        if (mw_field_get(s->key) != r.key) continue; /* the record is another one's */
        for (int k = 2 * MW_SIGNAL_UNLIKE; k < 2 * MW_SIGNAL_UNLIKE + 2; k++)
            if (mw_field_get(s->evidence[k]) > FAULT_LEFT * MW_NAT)
                mw_field_set(s->evidence[k], (uint16_t)(FAULT_LEFT * MW_NAT));
        if (mw_field_get(s->until) <= now) continue;
        mw_field_set(s->until, 0);
        if (mw_field_get(s->strikes)) mw_field_set(s->strikes, (uint8_t)(mw_field_get(s->strikes) - 1));
    }
}

/* A quiet, established identity has sent a row of this cell and this s, sixteenths of a nat. Whether that is tolerated. */
static inline int mw_fault_row(mw_watch_shared *m, uint32_t who, uint32_t at, uint32_t s, uint32_t own, uint32_t now) {
    const int kind = at == MW_WATCH_CELLS ? MW_FAULT_IMPLAUSIBLE : s >= FAULT_FAR ? MW_FAULT_UNLIKE : FAULT_NONE;
    if (kind == FAULT_NONE) {
        for (int k = 0; k < MW_FAULT_KINDS; k++) mw_fault_sign(&m->faults.kind[k].sign[who % MW_FAULT_NAMES], s, own);
        return 0;
    }
    mw_watch_fault *f = &m->faults.kind[kind];
    const int sign = mw_fault_sign(&f->sign[who % MW_FAULT_NAMES], s, own);
    if (sign >= FAULT_MARK && mw_fault_add(f->failed, who)) {
        const uint32_t failed = __atomic_add_fetch(&f->failed_count, 1, __ATOMIC_RELAXED);
        if (mw_fault_is(&m->faults, failed)) {
            const int begins = mw_field_get(f->until) <= now;
            if (begins || failed > mw_field_get(f->identities)) mw_field_set(f->identities, failed);
            mw_field_set(f->until, now + FAULT_FOR);
            if (begins) mw_fault_forgive(m, f, now);
        }
    }
    return mw_field_get(f->until) > now;
}

/* A row took an established identity beyond quiet: that may be the doing of a fault that is not known yet. */
static inline void mw_fault_raise(mw_watch_shared *m, mw_suspect *s, uint64_t key, uint32_t who, uint32_t now) {
    for (int k = 0; k < MW_FAULT_KINDS; k++) {
        mw_watch_fault *f = &m->faults.kind[k];
        if (mw_field_get(f->sign[who % MW_FAULT_NAMES]) < FAULT_SOME) continue;
        mw_fault_raised *to = &f->raised[__atomic_fetch_add(&f->next, 1, __ATOMIC_RELAXED) % MW_FAULT_RAISED];
        *to = (mw_fault_raised){(int64_t)((char *)s - (char *)m), key, now};
    }
}

#endif
