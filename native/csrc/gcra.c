#include "gcra.h"

#include <math.h>
#include <string.h>

/* Now and every TAT stay below this, so no sum of a time, a tolerance and an interval can overflow. Reached only by
 * a clock that leaps forward by years 64 times; from then on the table's time stands still and limits refuse. */
#define LAST_NS (INT64_C(1) << 62)

_Static_assert(sizeof(mw_gcra_bucket) == 64, "a bucket is one cache line");

int mw_rate_make(double requests_per_second, int64_t burst, mw_rate *out) {
    if (!(requests_per_second > 0) || isinf(requests_per_second) || burst < 1) return -1;
    double interval = 1e9 / requests_per_second;
    if (interval > (double)MW_GCRA_LONGEST_NS) return -1;
    int64_t interval_ns = interval < 1 ? 1 : (int64_t)(interval + 0.5), tolerance_ns;
    if (__builtin_mul_overflow(burst - 1, interval_ns, &tolerance_ns) || tolerance_ns > MW_GCRA_LONGEST_NS)
        tolerance_ns = MW_GCRA_LONGEST_NS;
    *out = (mw_rate){interval_ns, tolerance_ns};
    return 0;
}

size_t mw_gcra_size(uint64_t keys) {
    if (keys == 0 || keys > UINT64_C(1) << 32) return 0;
    uint64_t buckets = 2;  /* at least two, so that a key's two buckets can differ */
    while (buckets * MW_GCRA_WAYS < keys * 2) buckets *= 2;
    return buckets * sizeof(mw_gcra_bucket);
}

void mw_gcra_init(mw_gcra *table, void *memory, size_t size, const uint64_t sip_key[2]) {
    memset(table, 0, sizeof *table);
    table->bucket = memory;
    table->mask = size / sizeof(mw_gcra_bucket) - 1;
    table->sip_key[0] = sip_key[0];
    table->sip_key[1] = sip_key[1];
}

/* ---- SipHash-1-3: "SipHash: a fast short-input PRF", INDOCRYPT 2012, section 2, with c = 1 and d = 3 ---- */

static inline uint64_t rotated(uint64_t x, int by) { return x << by | x >> (64 - by); }

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1]; v[1] = rotated(v[1], 13); v[1] ^= v[0]; v[0] = rotated(v[0], 32);
    v[2] += v[3]; v[3] = rotated(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = rotated(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = rotated(v[1], 17); v[1] ^= v[2]; v[2] = rotated(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t mw_gcra_hash(const mw_gcra *table, mw_level level, const void *key, size_t size) {
    uint64_t k0 = table->sip_key[0], k1 = table->sip_key[1], word = 0;
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    const uint8_t *at = key;
    sip_word(v, (uint64_t)level);
    for (size_t left = size; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        sip_word(v, word);
    }
    word = 0;
    if (size % 8) memcpy(&word, at, size % 8);
    sip_word(v, word | (uint64_t)(size + 8) << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) sip_round(v);
    uint64_t hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    return hash ? hash : 1;
}

/* ---- time ---- */

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
    return table->now_ns;
}

/* ---- the table ---- */

typedef struct {
    mw_gcra_bucket *first, *second;
} bucket_pair;

static inline bucket_pair buckets_of(const mw_gcra *table, uint64_t hash) {
    uint64_t a = hash & table->mask, b = (hash >> 32) & table->mask;
    if (a == b) b ^= 1;
    return (bucket_pair){&table->bucket[a], &table->bucket[b]};
}

static inline int way_of(const mw_gcra_bucket *bucket, uint64_t hash) {
    for (int way = 0; way < MW_GCRA_WAYS; way++)
        if (bucket->tag[way] == hash) return way;
    return -1;
}

/* The number of free slots, and one of them in *way. A slot never used has TAT 0, which no debt can have. */
static inline int free_ways(const mw_gcra_bucket *bucket, int64_t now, int *way) {
    int count = 0;
    for (int w = 0; w < MW_GCRA_WAYS; w++) {
        if (bucket->tat_ns[w] > now) continue;
        *way = w;
        count++;
    }
    return count;
}

static inline int64_t *find(const mw_gcra *table, uint64_t hash) {
    bucket_pair at = buckets_of(table, hash);
    int way = way_of(at.first, hash);
    if (way >= 0) return &at.first->tat_ns[way];
    way = way_of(at.second, hash);
    return way >= 0 ? &at.second->tat_ns[way] : NULL;
}

/* One step of cuckoo hashing: a debtor of this bucket goes to its other bucket if that has a free slot. Keeps the
 * slots of a half-full table enough for every key, where two choices alone leave 20 of 2^20 without (measured). */
static int vacated_way(mw_gcra *table, mw_gcra_bucket *bucket, int64_t now) {
    for (int way = 0; way < MW_GCRA_WAYS; way++) {
        bucket_pair home = buckets_of(table, bucket->tag[way]);
        mw_gcra_bucket *other = home.first == bucket ? home.second : home.first;
        int to;
        if (!free_ways(other, now, &to)) continue;
        other->tag[to] = bucket->tag[way];
        other->tat_ns[to] = bucket->tat_ns[way];
        return way;
    }
    return -1;
}

/* A free slot for a key that has none, marked with its hash but owing nothing yet; NULL if only debtors are in
 * reach. */
static int64_t *place(mw_gcra *table, uint64_t hash, int64_t now) {
    bucket_pair at = buckets_of(table, hash);
    int way = -1, way_second = -1;
    int free_first = free_ways(at.first, now, &way), free_second = free_ways(at.second, now, &way_second);
    mw_gcra_bucket *bucket = at.first;
    if (free_second > free_first) {
        bucket = at.second;
        way = way_second;
    } else if (free_first == 0) {
        way = vacated_way(table, at.first, now);
        if (way < 0) {
            bucket = at.second;
            way = vacated_way(table, at.second, now);
        }
        if (way < 0) return NULL;
    }
    bucket->tag[way] = hash;
    bucket->tat_ns[way] = 0;
    return &bucket->tat_ns[way];
}

/* The cell that answers for a key without a slot: a new slot, or its level's overflow cell. */
static int64_t *new_cell(mw_gcra *table, uint64_t hash, mw_level level, int64_t now) {
    int64_t *cell = place(table, hash, now);
    return cell ? cell : &table->overflow_tat_ns[level];
}

static inline int64_t *cell_of(mw_gcra *table, uint64_t hash, mw_level level, int64_t now) {
    int64_t *cell = find(table, hash);
    return cell ? cell : new_cell(table, hash, level, now);
}

/* ---- the algorithm ---- */

/* 0 if `cost` requests conform now. They do if the last of them, one interval after another, is within the
 * tolerance. A TAT further ahead than this rate can push it was run up under a slower rate (before a reload): it is
 * cut to that, for good, so that such debt does not outlive its rate. */
static inline int64_t wait_for(int64_t *tat_ns, mw_rate rate, int64_t cost, int64_t now) {
    int64_t most = now + rate.tolerance_ns + rate.interval_ns, ahead;
    if (*tat_ns > most) *tat_ns = most;
    if (__builtin_mul_overflow(cost - 1, rate.interval_ns, &ahead) || ahead > rate.tolerance_ns) return MW_RETRY_NEVER;
    int64_t wait = (*tat_ns > now ? *tat_ns - now : 0) + ahead - rate.tolerance_ns;
    return wait > 0 ? wait : 0;
}

int64_t mw_gcra_peek(mw_gcra *table, mw_rate rate, uint64_t hash, mw_level level, int64_t now_ns) {
    if (rate.interval_ns == 0) return 0;
    int64_t now = move_time(table, now_ns);
    return wait_for(cell_of(table, hash, level, now), rate, 1, now);
}

static inline mw_rate rate_of(const mw_claim *claim) { return claim->meter ? claim->meter->rate : claim->rate; }

int mw_gcra_admit(mw_gcra *table, const mw_claim *claims, int count, int64_t cost, int64_t now_ns, int64_t *retry_ns) {
    int64_t now = move_time(table, now_ns), longest = 0;
    int refused_by = MW_ADMITTED, moved = 0;
    int64_t *cell[MW_GCRA_MAX_CLAIMS];

    for (int i = 0; i < count; i++)
        if (claims[i].meter == NULL && claims[i].rate.interval_ns != 0) mw_gcra_prefetch(table, claims[i].hash);

    for (int i = 0; i < count; i++) {
        const mw_claim *claim = &claims[i];
        mw_rate rate = rate_of(claim);
        cell[i] = NULL;
        if (rate.interval_ns == 0) continue;
        cell[i] = claim->meter ? &claim->meter->tat_ns : find(table, claim->hash);
        if (cell[i] == NULL) {
            cell[i] = new_cell(table, claim->hash, claim->level, now);
            table->overflowed += cell[i] == &table->overflow_tat_ns[claim->level];
            moved = 1;
        }
        int64_t wait = wait_for(cell[i], rate, cost, now);
        if (wait > longest) {
            longest = wait;
            refused_by = i;
        }
    }
    if (refused_by != MW_ADMITTED) {
        *retry_ns = longest;
        return refused_by;
    }

    for (int i = 0; i < count; i++) {
        const mw_claim *claim = &claims[i];
        if (cell[i] == NULL) continue;
        mw_rate rate = rate_of(claim);
        /* Placing one claim's key may have moved another's, or taken its slot if it owed nothing. Once charged a
         * cell owes, and nothing takes it. (Two new keys after the same last slot: the second is charged to its
         * overflow cell, unasked.) */
        if (moved && claim->meter == NULL) cell[i] = cell_of(table, claim->hash, claim->level, now);
        *cell[i] = (*cell[i] > now ? *cell[i] : now) + cost * rate.interval_ns;
    }
    return MW_ADMITTED;
}
