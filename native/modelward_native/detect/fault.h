/* A fault that is no caller's doing: a service before all of them breaks, and rows of many become implausible, or very unlike the
 * training data, at once. Such rows are then as usual as the share of identities that send them, for a time.
 *
 * Only identities that have a history and are quiet count, each once in 20 s, so that new names add nothing. They count once their
 * own evidence says that such rows come close together: an honest one's single row is no sign. docs/design/suspicion.md has the
 * reasons, and what an attacker with accounts of that kind gains. */
#ifndef MODELWARD_FAULT_H
#define MODELWARD_FAULT_H

#include <math.h>
#include <string.h>

#include "fingerprint.h"

enum {
    FAULT_WINDOW = 200,  /* tenths of a second */
    FAULT_FOR = 6000,    /* likewise */
    FAULT_LEAST = 3,     /* identities that fail in a window ... */
    FAULT_PART = 16,     /* ... and at least one in so many of those that ask */
    FAULT_TOLERANCE = 2, /* rows may be so many times as usual as identities that send them */
    FAULT_NONE = -1,
};

/* Nats: from which a row of a cell is very unlike the others there; evidence from which its sender counts, and that it may have
 * had before; what is left of evidence that is forgiven. */
static const float FAULT_FAR = 5.0f, FAULT_MARK = 7.0f, FAULT_QUIET = 9.2f, FAULT_LEFT = 4.6f;

/* Whether it was not there. Exactly one of several processes is told so. */
static inline int mw_fault_add(uint64_t set[MW_FAULT_NAMES / 64], uint32_t who) {
    uint64_t *word = &set[who % MW_FAULT_NAMES / 64];
    const uint64_t bit = UINT64_C(1) << who % 64;
    return !(mw_field_get(*word) & bit) && !(__atomic_fetch_or(word, bit, __ATOMIC_RELAXED) & bit);
}

static inline void mw_fault_clear(uint64_t set[MW_FAULT_NAMES / 64]) {
    for (int i = 0; i < MW_FAULT_NAMES / 64; i++) mw_field_set(set[i], 0);
}

static inline uint32_t mw_fault_usual(const mw_watch_faults *f) {
    const uint32_t asked = mw_field_get(f->asked_count), usual = mw_field_get(f->usual);
    return asked > usual ? asked : usual;
}

/* A quiet, established identity asks. What is usual falls by half in four minutes, so no lull makes few accounts many. */
static inline void mw_fault_asked(mw_watch_faults *f, uint32_t who, uint32_t now) {
    const uint32_t window = now / FAULT_WINDOW;
    uint32_t before = mw_field_get(f->window);
    if ((int32_t)(window - before) > 0 &&
        __atomic_compare_exchange_n(&f->window, &before, window, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        const uint32_t usual = mw_field_get(f->usual), fallen = usual - (usual + 15) / 16;
        const uint32_t asked = mw_field_get(f->asked_count);
        mw_field_set(f->usual, asked > fallen ? asked : fallen);
        mw_field_set(f->asked_count, 0);
        mw_fault_clear(f->asked);
        for (int k = 0; k < MW_FAULT_KINDS; k++) {
            mw_field_set(f->kind[k].failed_count, 0);
            mw_fault_clear(f->kind[k].failed);
        }
    }
    if (mw_fault_add(f->asked, who)) __atomic_fetch_add(&f->asked_count, 1, __ATOMIC_RELAXED);
}

/* Of which kind of fault a row may be; FAULT_NONE: of none. */
static inline int mw_fault_kind(const mw_watched *row, float s) {
    return row->at == MW_WATCH_CELLS ? MW_FAULT_IMPLAUSIBLE : s >= FAULT_FAR ? MW_FAULT_UNLIKE : FAULT_NONE;
}

/* s of such a row while the fault lasts: what it would be if as many rows as identities were so. */
static inline float mw_fault_tolerated(const mw_watch_fault *f, float s, uint32_t now) {
    if (mw_field_get(f->until) <= now) return s;
    const float usual = 1.0f - logf(mw_float_get(&f->share));
    return usual < s ? usual : s;
}

static inline void mw_fault_forgive(mw_watch_shared *m, mw_watch_fault *f, uint32_t now) {
    for (int i = 0; i < MW_FAULT_RAISED; i++) {
        const mw_fault_raised r = f->raised[i];
        mw_suspect *s = (mw_suspect *)((char *)m + r.record);
        if (!r.key || now - r.at > 2 * FAULT_WINDOW) continue;
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

/* A quiet, established identity has sent such a row, and has this evidence (strong and mild) since. Where that shows a fault, or
 * that more identities have it than was known, those are forgiven that it raised beyond quiet meanwhile. */
static inline void mw_fault_seen(mw_watch_shared *m, mw_watch_fault *f, mw_suspect *s, uint64_t key, uint32_t who,
                                 float e[2], uint32_t now) {
    const float raised = e[0] > e[1] ? e[0] : e[1];
    if (raised < FAULT_MARK) return;
    if (mw_fault_add(f->failed, who)) {
        const uint32_t failed = __atomic_add_fetch(&f->failed_count, 1, __ATOMIC_RELAXED);
        const uint32_t usual = mw_fault_usual(&m->faults);
        if (failed >= FAULT_LEAST && failed * FAULT_PART >= usual) {
            const float part = FAULT_TOLERANCE * (float)failed / (float)usual, share = part < 1.0f ? part : 1.0f;
            const int begins = mw_field_get(f->until) <= now;
            if (begins || failed > mw_field_get(f->identities)) mw_field_set(f->identities, failed);
            mw_field_set(f->until, now + FAULT_FOR);
            if (begins || share > mw_float_get(&f->share)) {
                mw_float_set(&f->share, share);
                mw_fault_forgive(m, f, now);
                for (int k = 0; k < 2; k++) e[k] = e[k] < FAULT_LEFT ? e[k] : FAULT_LEFT;
                return;
            }
        }
    }
    if (raised < FAULT_QUIET) return;
    mw_fault_raised *to = &f->raised[__atomic_fetch_add(&f->next, 1, __ATOMIC_RELAXED) % MW_FAULT_RAISED];
    *to = (mw_fault_raised){(int64_t)((char *)s - (char *)m), key, now};
}

#endif
