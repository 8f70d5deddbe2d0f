/* The table of keys that owe (gcra.h): buckets of four slots, two buckets for each key, shared by processes without a lock. */
#ifndef MODELWARD_GCRA_TABLE_H
#define MODELWARD_GCRA_TABLE_H

#include <string.h>

#include "gcra.h"

/* ---- what is shared: words are read as they are, and changed only if they are still what was read ---- */

static inline int64_t seen(const int64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static inline int replaced(int64_t *word, int64_t before, int64_t after) {
    return __atomic_compare_exchange_n(word, &before, after, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* The two words may be of different moments; a slot that is then changed is compared as a whole. */
static inline mw_gcra_slot slot_seen(const mw_gcra_slot *slot) {
    return (mw_gcra_slot){__atomic_load_n(&slot->tag, __ATOMIC_ACQUIRE), seen(&slot->tat_ns)};
}

static inline int slot_replaced(mw_gcra_slot *slot, mw_gcra_slot before, mw_gcra_slot after) {
    unsigned __int128 was, is;
    memcpy(&was, &before, sizeof was);
    memcpy(&is, &after, sizeof is);
    return __sync_bool_compare_and_swap((unsigned __int128 *)slot, was, is);
}

/* ---- buckets and slots ---- */

typedef struct {
    mw_gcra_bucket *first, *second;
} bucket_pair;

static inline bucket_pair buckets_of(const mw_gcra *table, uint64_t hash) {
    uint64_t a = hash & table->mask, b = (hash >> 32) & table->mask;
    if (a == b) b ^= 1;
    return (bucket_pair){&table->bucket[a], &table->bucket[b]};
}

static inline mw_gcra_slot *slot_of(mw_gcra_bucket *bucket, uint64_t hash) {
    for (int way = 0; way < MW_GCRA_WAYS; way++)
        if (__atomic_load_n(&bucket->slot[way].tag, __ATOMIC_RELAXED) == hash) return &bucket->slot[way];
    return NULL;
}

static inline mw_gcra_slot *find(const mw_gcra *table, uint64_t hash) {
    bucket_pair at = buckets_of(table, hash);
    mw_gcra_slot *slot = slot_of(at.first, hash);
    return slot ? slot : slot_of(at.second, hash);
}

/* The number of free slots, and the first of them in *slot. A slot never used has TAT 0, which no debt can have. */
static inline int free_slots(mw_gcra_bucket *bucket, int64_t now, mw_gcra_slot **slot) {
    int count = 0;
    for (int way = MW_GCRA_WAYS - 1; way >= 0; way--) {
        if (seen(&bucket->slot[way].tat_ns) > now) continue;
        *slot = &bucket->slot[way];
        count++;
    }
    return count;
}

/* A free slot in the other bucket of the key in this slot; NULL if there is none. */
static inline mw_gcra_slot *other_slot(const mw_gcra *table, mw_gcra_bucket *bucket, uint64_t tag, int64_t now) {
    bucket_pair home = buckets_of(table, tag);
    mw_gcra_slot *slot = NULL;
    free_slots(home.first == bucket ? home.second : home.first, now, &slot);
    return slot;
}

/* A debtor of this bucket that can move to its other one: one step of cuckoo hashing. Keeps the slots of a half-full
 * table enough for every key, where two choices alone leave 20 of 2^20 without (measured). */
static inline mw_gcra_slot *movable(const mw_gcra *table, mw_gcra_bucket *bucket, int64_t now) {
    for (int way = 0; way < MW_GCRA_WAYS; way++)
        if (other_slot(table, bucket, bucket->slot[way].tag, now)) return &bucket->slot[way];
    return NULL;
}

/* Where a key without a slot can be put: in the emptier of its buckets, so that two processes choose alike. If *taken,
 * the debtor in that slot has to move first. NULL if only debtors are in reach. */
static inline mw_gcra_slot *slot_for(const mw_gcra *table, uint64_t hash, int64_t now, int *taken) {
    bucket_pair at = buckets_of(table, hash);
    mw_gcra_slot *first = NULL, *second = NULL;
    int free_first = free_slots(at.first, now, &first), free_second = free_slots(at.second, now, &second);
    *taken = free_first == 0 && free_second == 0;
    if (free_second > free_first) return second;
    if (free_first) return first;
    first = movable(table, at.first, now);
    return first ? first : movable(table, at.second, now);
}

/* The debtor in this slot goes to its other bucket, unless anything has changed. It is first copied and then taken
 * away, so that it is never absent. */
static inline void move(const mw_gcra *table, mw_gcra_slot *from, int64_t now) {
    mw_gcra_bucket *bucket = &table->bucket[((char *)from - (char *)table->bucket) / sizeof(mw_gcra_bucket)];
    mw_gcra_slot debtor = slot_seen(from), none = {0, 0}, vacant;
    mw_gcra_slot *to = other_slot(table, bucket, debtor.tag, now);
    if (to == NULL) return;
    vacant = slot_seen(to);
    if (vacant.tat_ns > now || !slot_replaced(to, vacant, debtor)) return;
    if (!slot_replaced(from, debtor, none)) slot_replaced(to, debtor, none);
}

#endif
