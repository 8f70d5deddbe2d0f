/* How many connections each peer has with one process, for other processes to read: a table of fixed size in that
 * process's slot of the shared memory, with one writer and any number of readers, none of whom waits.
 *
 * A cell is one word, the high bits of the peer's hash (SipHash with a random key) above its count, so that a reader sees both
 * of one moment. A cell in use is neither moved nor given away: a peer stays until its last connection ends, and
 * no peer can choose its neighbours. A newcomer takes a cell in the emptier of its two buckets. Where all
 * sixteen are taken it gets none, and its owner counts it alone: not before two thirds of all cells, 87,000, are in use
 * (measured). */
#ifndef MODELWARD_PEERS_H
#define MODELWARD_PEERS_H

#include <stddef.h>
#include <stdint.h>

enum {
    MW_PEER_WAYS = 8,          /* cells of one bucket: one cache line */
    MW_PEER_BUCKETS = 1 << 14, /* a table is 1 MiB, and untouched pages of it cost nothing */
    MW_PEER_COUNT_BITS = 20,   /* 1,048,575 connections of one peer */
};

#define MW_PEER_COUNT_MAX ((UINT32_C(1) << MW_PEER_COUNT_BITS) - 1)

typedef struct {
    _Alignas(64) uint64_t cell[MW_PEER_BUCKETS][MW_PEER_WAYS]; /* zeroed: vacant */
} mw_peers;

static inline uint64_t mw_peer_seen(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }

static inline uint32_t mw_peer_count_of(uint64_t word) { return (uint32_t)word & MW_PEER_COUNT_MAX; }

static inline size_t mw_peer_bucket(uint64_t hash, int second) {
    size_t a = hash % MW_PEER_BUCKETS, b = (hash >> 32) % MW_PEER_BUCKETS;
    return !second ? a : a == b ? b ^ 1 : b;
}

/* The peer's cell; else, with `free_one`, a free one in the emptier of its buckets; else NULL. */
static inline const uint64_t *mw_peer_cell(const mw_peers *peers, uint64_t hash, int free_one) {
    const uint64_t *room = NULL;
    int most = 0;
    for (int second = 0; second < 2; second++) {
        const uint64_t *cell = peers->cell[mw_peer_bucket(hash, second)], *vacant = NULL;
        int vacancies = 0;
        for (int way = 0; way < MW_PEER_WAYS; way++) {
            uint64_t word = mw_peer_seen(&cell[way]);
            if (mw_peer_count_of(word) == 0) {
                vacant = &cell[way];
                vacancies++;
            } else if (word >> MW_PEER_COUNT_BITS == hash >> MW_PEER_COUNT_BITS) {
                return &cell[way];
            }
        }
        if (vacancies > most) {
            most = vacancies;
            room = vacant;
        }
    }
    return free_one ? room : NULL;
}

/* Connections of a peer; 0 where it has no cell. Any process may ask: about 16 ns with 20,000 peers. */
static inline uint32_t mw_peers_count(const mw_peers *peers, uint64_t hash) {
    const uint64_t *cell = mw_peer_cell(peers, hash, 0);
    return cell ? mw_peer_count_of(mw_peer_seen(cell)) : 0;
}

/* Whether a peer has a cell or could get one. */
static inline int mw_peers_has_room(const mw_peers *peers, uint64_t hash) {
    return mw_peer_cell(peers, hash, 1) != NULL;
}

/* A peer has `count` connections now, at most MW_PEER_COUNT_MAX; only the table's owner says so. Nothing is written for one
 * that gets no cell. */
static inline void mw_peers_set(mw_peers *peers, uint64_t hash, uint32_t count) {
    uint64_t *cell = (uint64_t *)mw_peer_cell(peers, hash, count != 0);
    if (count > MW_PEER_COUNT_MAX) count = MW_PEER_COUNT_MAX;
    if (cell) __atomic_store_n(cell, hash >> MW_PEER_COUNT_BITS << MW_PEER_COUNT_BITS | count, __ATOMIC_RELAXED);
}

#endif
