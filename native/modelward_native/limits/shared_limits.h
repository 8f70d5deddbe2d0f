/* What this server has spent of limits that several servers hold together, and what it must leave to the others.
 *
 * A shared limit stays a cell of this server (gcra.h), which alone decides requests: they wait for no other server. Beside it
 * lies an account, written by every worker and read by the control plane. Once per round the control plane takes what was spent,
 * adds it to the one cell of all servers, and sets the local cell to where that cell now stands. Between two rounds each server
 * could spend the whole rate. So, while more is asked for than the limit allows, a request pushes the local cell further than it
 * costs: by `others`, so that a server's part of the limit is its part of all that is asked for ("Cloud Control with Distributed
 * Rate Limiting", Raghavan et al., SIGCOMM 2007, section 3). The next round corrects what was pushed too far or not far enough:
 * shares may be wrong for a while, the sum is not.
 *
 * Demand is in parts of the limit: 1 is as much as it allows. A server says by how much its own has changed, and the sum of all
 * fades, so that a server that died is forgotten.
 *
 * The memory is the caller's, zeroed, and may be shared by processes. Words change by atomic operations alone. */
#ifndef MODELWARD_SHARED_LIMITS_H
#define MODELWARD_SHARED_LIMITS_H

#include <stddef.h>
#include <stdint.h>

enum {
    MW_SHARED_ACCOUNTS = 16384,  /* identities that may be active at a time: 1 MiB */
    MW_SHARED_WAYS = 8,          /* accounts that a key may have */
    MW_SHARED_QUIET_ROUNDS = 64, /* rounds without a request, after which an account is given to others */
    MW_OTHERS_SHIFT = 16,
    MW_OTHERS_MOST = 31 << MW_OTHERS_SHIFT,
};

/* How far the TAT of all may lie ahead: as many bursts, of servers that have not heard of each other, and some rounds. */
#define MW_SHARED_BURSTS 16
#define MW_SHARED_DEBT_NS INT64_C(10000000000)
#define MW_DEMAND_NS 1e9 /* demand that was told so long ago counts 1/e */

typedef struct {
    _Alignas(64) uint64_t key; /* of the limit in all servers; 0: free, or a limit that is known by where it lies */
    uint64_t hash;             /* of its cell in this server's table, written after the key */
    int64_t
        spent_ns; /* that requests and what they turned out to have taken have moved the TAT by, since the last round */
    int64_t wanted_ns; /* and that those would have which this limit refused */
    int64_t most_ns;   /* that the TAT may lie ahead */
    double demand;     /* as told last: the control plane's alone, like the next two */
    int64_t demand_at_ns;
    uint32_t quiet;  /* rounds */
    uint32_t others; /* how much further a request pushes than it costs, in 1 / 2^MW_OTHERS_SHIFT */
} mw_account;

typedef struct {
    _Alignas(64) uint64_t unbooked; /* requests of keys that found no place: those are held by this server alone */
    mw_account total;
    mw_account identity[MW_SHARED_ACCOUNTS];
} mw_shared_limits;

/* The limit of one model: its cell, shared by this server's processes, and its account. */
typedef struct {
    mw_account account;
    _Alignas(64) int64_t tat_ns;
} mw_cell;

_Static_assert(sizeof(mw_account) == 64, "an account is one cache line");

/* The account of an identity; NULL where all its places are taken. An account that is given away between this and its use
 * books one request to another key. */
static inline mw_account *mw_shared_account(mw_shared_limits *limits, uint64_t key, uint64_t hash) {
    mw_account *place = &limits->identity[key % (MW_SHARED_ACCOUNTS / MW_SHARED_WAYS) * MW_SHARED_WAYS];
    for (int way = 0; way < MW_SHARED_WAYS; way++)
        if (__atomic_load_n(&place[way].key, __ATOMIC_ACQUIRE) == key) return &place[way];
    for (int way = 0; way < MW_SHARED_WAYS; way++) {
        uint64_t none = 0;
        if (!__atomic_compare_exchange_n(&place[way].key, &none, key, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) &&
            none != key)
            continue;
        __atomic_store_n(&place[way].hash, hash, __ATOMIC_RELEASE);
        return &place[way];
    }
    __atomic_fetch_add(&limits->unbooked, 1, __ATOMIC_RELAXED);
    return NULL;
}

static inline int64_t mw_account_pushed(const mw_account *account, int64_t charge) {
    uint32_t others = __atomic_load_n(&account->others, __ATOMIC_RELAXED);
    return charge + (int64_t)((__int128)charge * others >> MW_OTHERS_SHIFT);
}

static inline void mw_account_spend(mw_account *account, int64_t charge, int64_t most_ns) {
    __atomic_fetch_add(&account->spent_ns, charge, __ATOMIC_RELAXED);
    if (account->most_ns != most_ns) __atomic_store_n(&account->most_ns, most_ns, __ATOMIC_RELAXED);
}

static inline void mw_account_want(mw_account *account, int64_t charge, int64_t most_ns) {
    __atomic_fetch_add(&account->wanted_ns, charge, __ATOMIC_RELAXED);
    if (account->most_ns != most_ns) __atomic_store_n(&account->most_ns, most_ns, __ATOMIC_RELAXED);
}

/* ---- the control plane's end ---- */

/* Whether there is something to tell of the round that ends. A quiet account of an identity is given away. */
static inline int mw_account_is_due(mw_account *account) {
    if (__atomic_load_n(&account->spent_ns, __ATOMIC_RELAXED) ||
        __atomic_load_n(&account->wanted_ns, __ATOMIC_RELAXED)) {
        account->quiet = 0;
        return 1;
    }
    if (account->demand > 0) return 1;
    if (++account->quiet > MW_SHARED_QUIET_ROUNDS && account->key) {
        account->hash = 0;
        account->quiet = account->others = 0;
        __atomic_store_n(&account->key, 0, __ATOMIC_RELEASE);
    }
    return 0;
}

/* elapsed_ns: of the round; decay: exp(-(now - demand_at_ns) / MW_DEMAND_NS). *changed: of this server's demand. */
static inline void mw_account_take(mw_account *account, int64_t elapsed_ns, double decay, int64_t now_ns,
                                   int64_t *spent_ns, double *changed) {
    *spent_ns = __atomic_exchange_n(&account->spent_ns, 0, __ATOMIC_RELAXED);
    int64_t wanted = __atomic_exchange_n(&account->wanted_ns, 0, __ATOMIC_RELAXED);
    double demand = ((double)(*spent_ns > 0 ? *spent_ns : 0) + (double)wanted) / (double)elapsed_ns;
    if (demand > 0 && account->demand > 0) demand = (demand + account->demand) / 2; /* a round may hold few requests */
    *changed = demand - account->demand * decay;
    account->demand = demand;
    account->demand_at_ns = now_ns;
}

/* demand: of all servers, this one included. */
static inline void mw_account_share(mw_account *account, double demand) {
    double others = demand > 1 && account->demand > 0 ? (demand / account->demand - 1) * (1 << MW_OTHERS_SHIFT) : 0;
    uint32_t value = others > MW_OTHERS_MOST ? MW_OTHERS_MOST : others > 0 ? (uint32_t)others : 0;
    __atomic_store_n(&account->others, value, __ATOMIC_RELAXED);
}

/* What was booked since the last round is dropped, and all of the rate is this server's. */
static inline void mw_account_forget(mw_account *account) {
    __atomic_store_n(&account->spent_ns, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&account->wanted_ns, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&account->others, 0, __ATOMIC_RELAXED);
    account->demand = 0;
}

#endif
