/* Rate limits: the generic cell rate algorithm in its virtual scheduling form, over a table of fixed size.
 *
 * Source: ITU-T I.371 and ATM Forum Traffic Management 4.0. One number per key, the
 * theoretical arrival time (TAT): a request conforms unless it comes more than `tolerance` before its TAT, and then
 * pushes the TAT one `interval` on. No timer, no refill, no clock: time is an argument in monotonic nanoseconds.
 *
 * A rate is of requests, or of backend time. Of the latter a request costs what it is predicted to take, before it runs,
 * and what is wrong with that is settled when it has run. Prediction may err and one request may cost more than a whole
 * burst, so such a limit can be overdrawn: by a request that finds no debt, and by settling. It is then paid off
 * before the next one passes, MW_OVERDRAFT_NS of it at most.
 *
 * The table is open to strangers (any peer address makes a key), so its hash is keyed (SipHash-1-3 of Aumasson and
 * Bernstein, a random key per server) and its memory is two blocks that the caller provides and owns. A slot whose
 * TAT lies in the past says nothing that an absent key would not, so it is free to be taken; a slot that still owes
 * (TAT > now) is never given away. A new key that finds only debtors in its two buckets, and none of those eight
 * movable to its own other bucket, shares one overflow cell with all such keys of its level: a full table limits
 * newcomers together and opens no limit.
 *
 * A limit that several servers hold together (shared_limits.h) may be overdrawn as well: the servers learn late of each
 * other. What they have spent too much is paid off, at most MW_SHARED_BURSTS bursts of it.
 *
 * The memory may be shared: any number of processes, each with an mw_gcra of its own over it and one thread in it. There
 * is no lock. A slot changes as a whole (its tag and TAT in one 16-byte compare and swap), a cell by itself; a charge
 * that finds that another process was quicker judges again. Every single step leaves a table that is right, so a
 * process that dies between two of them has at worst charged a request that it did not let through. What two
 * processes may do to one key at the same instant is bounded by one request: a key that both see for the first time
 * may be given two slots, and a debtor that is being moved may be charged in the slot it leaves. */
#ifndef MODELWARD_GCRA_H
#define MODELWARD_GCRA_H

#include <stddef.h>
#include <stdint.h>

#include "shared_limits.h"

typedef enum { MW_LEVEL_PEER = 0, MW_LEVEL_IDENTITY, MW_LEVEL_MODEL, MW_LEVEL_TOTAL, MW_LEVELS } mw_level;

enum {
    MW_ADMITTED = -1, /* what mw_gcra_admit returns in place of the index of a refusing claim */
    MW_GCRA_WAYS = 4, /* slots of one bucket: 4 x 16 bytes are one cache line */
    MW_GCRA_MAX_CLAIMS = 8,
};

#define MW_RETRY_NEVER INT64_MAX              /* the cost is above the burst: waiting does not help */
#define MW_GCRA_LONGEST_NS (INT64_C(1) << 56) /* 2.28 years: bounds interval, tolerance and one step of time */
#define MW_GCRA_HOLD_NS INT64_C(1000000000)   /* a step back of at most 1 s is waited out, see mw_gcra_admit */

#define MW_OVERDRAFT_NS INT64_C(10000000000) /* of backend time, beyond the burst */
#define MW_TIME_SHIFT 20 /* backend time is counted in units of 2^20 ns, so that rates up to 2^20 hold */

/* interval 0: unlimited. */
typedef struct {
    int64_t interval_ns;  /* of one request, or of 2^MW_TIME_SHIFT ns of backend time */
    int64_t tolerance_ns; /* (burst - 1) x interval; of a whole burst where it is of time; at most MW_GCRA_LONGEST_NS */
    int64_t most_ns;      /* that a TAT may lie ahead: the burst, and of backend time what may be overdrawn */
    int timed;
} mw_rate;

/* A limit with a cell of its own (one model, the total). The rate is the holder's, the cell may be shared; it starts
 * as 0 and is the caller's. */
typedef struct {
    mw_rate rate;
    int64_t *tat_ns;
    mw_account *account; /* NULL: the limit is this server's alone */
} mw_meter;

typedef struct {
    _Alignas(16) uint64_t tag; /* the whole hash, so both buckets of a key are known from its slot; 0: never used */
    int64_t tat_ns;
} mw_gcra_slot;

typedef struct {
    mw_gcra_slot slot[MW_GCRA_WAYS];
} mw_gcra_bucket;

/* What the processes have in common beside the buckets. */
typedef struct {
    _Alignas(64) int64_t latest_ns; /* the latest time that any of them has judged by */
    int64_t overflow_tat_ns[MW_LEVELS];
    int64_t total_tat_ns; /* for the caller's meter of all requests */
    uint64_t overflowed;  /* times that a claim was judged by an overflow cell */
} mw_gcra_shared;

typedef struct {
    mw_gcra_shared *shared; /* the caller's, zeroed before the first mw_gcra_init */
    mw_gcra_bucket *bucket; /* the caller's, 64-byte aligned, likewise */
    uint64_t mask;          /* number of buckets - 1 */
    uint64_t sip_key[2];
    int64_t seen_ns; /* the last time given */
    int64_t now_ns;  /* time as this process counts it: never goes back; seen_ns on a sane clock */
} mw_gcra;

/* One level's part of a request: a key in the table (meter NULL), or a meter (then hash and rate are not read). */
typedef struct {
    mw_rate rate;
    uint64_t hash;
    mw_meter *meter;
    mw_account *account; /* the meter's where there is one; NULL: not shared with other servers */
    int64_t cost;        /* requests, or ns of backend time; >= 1 */
    mw_level level;
} mw_claim;

/* requests_per_second > 0 and finite, burst >= 1. The interval is rounded to whole nanoseconds, so the rate held
 * differs from the one asked for by at most requests_per_second / 2e9 of it (0.0025 % at 50000/s), and at most 1e9/s
 * is held. Returns 0, or -1 (out untouched) for anything else and for an interval above MW_GCRA_LONGEST_NS. */
int mw_rate_make(double requests_per_second, int64_t burst, mw_rate *out);

/* A rate of backend time: seconds per second, 1e-6 to 2^20 (several backends have more than one a second), held to 1 in
 * 2^20 / rate; burst_ns >= 1. Returns 0, or -1 (out untouched). */
int mw_rate_make_timed(double share, int64_t burst_ns, mw_rate *out);

/* Bytes for a table in which `keys` keys may owe at the same time: two 16-byte slots each, rounded up to a power of two
 * of 64-byte buckets. 1 M (2^20) keys: 32 MiB. 0 if keys is 0 or above 2^32. */
size_t mw_gcra_size(uint64_t keys);

/* buckets: mw_gcra_size() bytes, the caller's to free after the last use, as `shared` is. Every process that shares
 * them brings the same key. */
void mw_gcra_init(mw_gcra *table, mw_gcra_shared *shared, void *buckets, size_t size, const uint64_t sip_key[2]);

/* SipHash-1-3 of the level (8 bytes, little-endian) and the key; never 0. About 15 ns for an address: once a
 * connection. */
uint64_t mw_gcra_hash(const uint64_t sip_key[2], mw_level level, const void *key, size_t size);

/* Nanoseconds until one request under this key would conform; 0 if it does now. Charges nothing. */
int64_t mw_gcra_peek(mw_gcra *table, mw_rate rate, uint64_t hash, mw_level level, int64_t now_ns);

/* Charges every claim its cost, or nothing to any: all claims are checked before one is charged, and what was
 * charged is given back where another process has meanwhile used up a later one. Returns
 * MW_ADMITTED, or the index of the refusing claim that waits longest, with its wait (MW_RETRY_NEVER if it is of requests, and
 * more of them than its burst) in *retry_ns. 1 <= count <= MW_GCRA_MAX_CLAIMS; keys of one call differ. A step back of the
 * clock of up to MW_GCRA_HOLD_NS counts as no time at all until the clock has caught up, so jitter earns no
 * budget; a longer one becomes the new reference, so that no key waits for the old time to return. */
int mw_gcra_admit(mw_gcra *table, const mw_claim *claims, int count, int64_t now_ns, int64_t *retry_ns);

/* The same judgement, and charges nothing: whether the claims would be admitted now. */
int mw_gcra_would_admit(mw_gcra *table, const mw_claim *claims, int count, int64_t now_ns, int64_t *retry_ns);

/* What was charged to a claim as its cost turns out to have been `cost`: the difference is charged, whatever it says of
 * the limit, or given back as far as it is still a debt. */
void mw_gcra_settle(mw_gcra *table, const mw_claim *claim, int64_t cost, int64_t now_ns);

/* Sets the debt of a shared limit to that of all its servers: its TAT lies `ahead_ns` ahead of `at_ns`, and what was booked
 * since then comes on top. tat_ns: the cell; NULL for a key of the table. */
void mw_gcra_follow(mw_gcra *table, const mw_account *account, int64_t *tat_ns, int64_t ahead_ns, int64_t at_ns,
                    int64_t now_ns);

/* How many keys owe at `now_ns`, among those in `count` buckets from the first one on. */
uint64_t mw_gcra_owing(const mw_gcra *table, size_t first, size_t count, int64_t now_ns);

/* Starts the loads of a key's two buckets; worth it a few hundred nanoseconds ahead of a check (a cold bucket costs
 * ~80). */
static inline void mw_gcra_prefetch(const mw_gcra *table, uint64_t hash) {
    __builtin_prefetch(&table->bucket[hash & table->mask], 1);
    __builtin_prefetch(&table->bucket[(hash >> 32) & table->mask], 1);
}

#endif
