/* Who holds how many of the bytes in flight of one process: a table of fixed size, by peer and by identity.
 *
 * A holder is a peer's address, an identity, or one identity at one peer. Of the latter, whatever it holds is held by its peer
 * and by its identity too. A buffer points to its holder for as long as it has memory, and streams do so while they are open: a
 * cell is given to another when it has neither. Keys are keyed hashes, so that no stranger can choose a neighbour. A holder for
 * which both of its buckets have no room shares one cell, and so one share, with all others of that kind.
 *
 * How much one may hold (dynamic thresholds: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
 * switches", IEEE/ACM Transactions on Networking, 1998): a multiple of what is free. With a factor of f, n holders who take all
 * that they can have f / (1 + n f) of the whole each, and leave 1 / (1 + n f) of it for a newcomer. One message may always be
 * held, as far as there is room at all. No I/O, no clock. */
#ifndef MODELWARD_HOLDERS_H
#define MODELWARD_HOLDERS_H

#include <stddef.h>
#include <stdint.h>

enum {
    MW_HOLDER_WAYS = 8,
    MW_HOLDER_BUCKETS = 4096, /* 1.5 MiB, and what is not touched of it costs nothing */
};

typedef struct mw_holder {
    uint64_t key; /* 0: vacant */
    uint64_t bytes;
    uint32_t users;         /* streams, connections, and holders that this one is `peer` or `identity` of */
    uint32_t relays;        /* streams that are bound to an upstream's */
    struct mw_holder *peer; /* of an identity at a peer: both are set; else NULL. Each counts this one as a user */
    struct mw_holder *identity;
} mw_holder;

typedef struct {
    mw_holder rest;                                    /* of all for whom there is no cell */
    uint32_t live;                                     /* cells in use */
    mw_holder cell[MW_HOLDER_BUCKETS][MW_HOLDER_WAYS]; /* zeroed */
} mw_holders;

static inline uint64_t mw_holder_key(uint64_t peer, uint64_t identity) {
    uint64_t key = identity ? (peer ^ (identity << 32 | identity >> 32)) * UINT64_C(0x9E3779B97F4A7C15) : peer;
    return key ? key : 1;
}

static inline mw_holder *mw_holder_find(mw_holders *t, uint64_t key) {
    mw_holder *vacant = NULL;
    for (int second = 0; second < 2; second++) {
        mw_holder *cell = t->cell[(second ? key >> 32 : key) % MW_HOLDER_BUCKETS];
        for (int way = 0; way < MW_HOLDER_WAYS; way++) {
            if (cell[way].key == key) return &cell[way];
            if (cell[way].key == 0 && vacant == NULL) vacant = &cell[way];
        }
    }
    if (vacant == NULL) return &t->rest;
    vacant->key = key;
    t->live++;
    return vacant;
}

/* The holder of an identity at a peer, or of the peer where identity is 0; the caller is one more of its users. */
static inline mw_holder *mw_holder_enter(mw_holders *t, uint64_t peer, uint64_t identity) {
    mw_holder *h = mw_holder_find(t, mw_holder_key(peer, identity));
    if (identity && h != &t->rest && h->peer == NULL) {
        h->users++; /* so that it is not taken for vacant */
        h->peer = mw_holder_find(t, mw_holder_key(peer, 0));
        h->peer->users++;
        h->identity = mw_holder_find(t, mw_holder_key(identity, 0));
        h->identity->users++;
        h->users--;
    }
    h->users++;
    return h;
}

static inline void mw_holder_tidy(mw_holders *t, mw_holder *h) {
    if (h->users || h->bytes || h == &t->rest) return;
    mw_holder *peer = h->peer, *identity = h->identity;
    h->key = 0;
    h->peer = h->identity = NULL;
    t->live--;
    if (peer == NULL) return;
    peer->users--;
    identity->users--;
    mw_holder_tidy(t, peer);
    mw_holder_tidy(t, identity);
}

static inline void mw_holder_leave(mw_holders *t, mw_holder *h) {
    h->users--;
    mw_holder_tidy(t, h);
}

/* It holds `more` bytes more, or fewer. */
static inline void mw_holder_count(mw_holders *t, mw_holder *h, int64_t more) {
    h->bytes += (uint64_t)more;
    if (h->peer) {
        h->peer->bytes += (uint64_t)more;
        h->identity->bytes += (uint64_t)more;
    }
    if (more < 0 && h->bytes == 0) mw_holder_tidy(t, h);
}

/* One more stream is bound to an upstream's, or one fewer. A caller that counts one more is one of its users meanwhile. */
static inline void mw_holder_relay(mw_holder *h, int more) {
    h->relays += (uint32_t)more;
    if (h->peer) {
        h->peer->relays += (uint32_t)more;
        h->identity->relays += (uint32_t)more;
    }
}

/* What counts against its share: of its peer and its identity the one that holds more. */
static inline uint64_t mw_holder_held(const mw_holder *h) {
    if (h->peer == NULL) return h->bytes;
    return h->peer->bytes > h->identity->bytes ? h->peer->bytes : h->identity->bytes;
}

/* The factor with which one holder alone has this share of the whole, from 0 to 1; of 1: any amount. */
static inline double mw_holder_factor(double share) { return share < 1 ? share / (1 - share) : 1e18; }

/* What it may hold besides what it has, about. */
static inline uint64_t mw_holder_room(const mw_holder *h, uint64_t used, uint64_t limit, double factor) {
    double left = used < limit ? (double)(limit - used) : 0, most = factor * left - (double)mw_holder_held(h);
    return most <= 0 ? 0 : (uint64_t)(most < left ? most : left);
}

/* Whether it may hold `more` more of `limit` bytes, of which `used` are held by all: see above. least: always, if there is room. */
static inline int mw_holder_may(const mw_holder *h, uint64_t more, uint64_t used, uint64_t limit, double factor,
                                uint64_t least) {
    uint64_t own = mw_holder_held(h) + more;
    if (used + more > limit) return 0;
    return own <= least || (double)own <= factor * (double)(limit - used - more);
}

/* Whether it may have one more of an upstream's `limit` streams, of which `used` are in use: as for bytes. Its first one always
 * may: that waits until the upstream has room for it. */
static inline int mw_holder_may_relay(const mw_holder *h, uint64_t used, uint64_t limit, double factor) {
    uint64_t own = h->relays;
    if (h->peer) own = h->peer->relays > h->identity->relays ? h->peer->relays : h->identity->relays;
    return own == 0 || (used < limit && (double)(own + 1) <= factor * (double)(limit - used - 1));
}

#endif
