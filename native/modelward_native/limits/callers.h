/* Who is refused most, who spends most: a table of fixed size over a stream of keys without end.
 *
 * Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT
 * 2005): a key that is not there takes the place of the one with the least weight and begins with that weight, which is kept as
 * its error. So every key with more than a MW_CALLERS-th of all weight is in the table, and its weight is too high by `error` at
 * most. Of keys that are not there only every MW_CALLERS_SAMPLE-th takes a place, and counts for as many: a flood of keys that
 * come once costs a walk over the table that seldom.
 *
 * One process writes a table, others read it: `version` is odd while an entry changes hands. No I/O, no clock. */
#ifndef MODELWARD_CALLERS_H
#define MODELWARD_CALLERS_H

#include <stdint.h>
#include <string.h>

enum { MW_CALLERS = 64, MW_CALLERS_SAMPLE = 8, MW_CALLER_NAME = 128, MW_CALLER_LIMITS = 4 };

typedef struct {
    uint64_t weight;
    uint64_t error;                     /* of weight: it may be so much too high */
    uint64_t refused[MW_CALLER_LIMITS]; /* by the level that refused; since it is in the table */
    uint64_t requests;                  /* that passed, by a sample */
    uint64_t spent_ns;                  /* of backend time, likewise */
    int64_t refused_at;                 /* ns; the last time */
    uint8_t kind;                       /* the writer's */
    uint8_t name_size;                  /* 0: the writer has still to name it */
    char name[MW_CALLER_NAME];
} mw_caller;

typedef struct {
    uint32_t version;
    uint32_t last;            /* entry that was noted last: floods are of one key */
    uint32_t unknown;         /* keys noted that had no entry */
    uint64_t key[MW_CALLERS]; /* 0: free */
    mw_caller caller[MW_CALLERS];
} mw_callers;

/* The key's entry, with `weight` added; NULL for a key that gets none this time. *times: what one stands for. */
static inline mw_caller *mw_callers_note(mw_callers *t, uint64_t key, uint64_t weight, uint64_t *times) {
    uint32_t i = t->last, least = 0;
    *times = 1;
    if (t->key[i] != key) {
        for (i = 0; i < MW_CALLERS && t->key[i] != key; i++)
            if (t->caller[i].weight < t->caller[least].weight) least = i;
        if (i == MW_CALLERS) {
            if (t->key[least] != 0) {
                if (++t->unknown % MW_CALLERS_SAMPLE) return NULL;
                *times = MW_CALLERS_SAMPLE;
            }
            i = least;
            __atomic_store_n(&t->version, t->version + 1, __ATOMIC_SEQ_CST);
            uint64_t error = t->caller[i].weight;
            memset(&t->caller[i], 0, sizeof t->caller[i]);
            t->caller[i].weight = t->caller[i].error = error;
            t->key[i] = key;
            __atomic_store_n(&t->version, t->version + 1, __ATOMIC_SEQ_CST);
        }
        t->last = i;
    }
    t->caller[i].weight += weight * *times;
    return &t->caller[i];
}

/* Copies an entry; 0 while its writer is giving it to another key, or where it is free. */
static inline int mw_callers_read(const mw_callers *t, uint32_t i, mw_caller *out, uint64_t *key) {
    uint32_t version = __atomic_load_n(&t->version, __ATOMIC_SEQ_CST);
    *key = t->key[i];
    memcpy(out, &t->caller[i], sizeof *out);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return version % 2 == 0 && version == __atomic_load_n(&t->version, __ATOMIC_SEQ_CST) && *key != 0 &&
           out->name_size > 0 && out->name_size <= MW_CALLER_NAME;
}

#endif
