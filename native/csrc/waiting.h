/* Those who wait for a backend, best first: by priority, then the unsuspicious, then fairly between identities.
 *
 * An interval heap (van Leeuwen and Wood, "Interval heaps", 1993) has both ends at hand: the best is let in next, the
 * worst is shed when there is no room. Fairness is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each
 * request is stamped with the virtual time at which it would begin if every flow had its share, and the stamps order what
 * is alike otherwise. Flows are kept in a fixed table by hash of their key; two that meet in it share one share.
 *
 * Entries know where they are in the heap through `where`, a field of their owner, so that one that is cancelled leaves
 * in O(log n). Memory: 32 bytes an entry, taken in doublings up to the capacity, and 24 KiB for the flows. No I/O, no clock. */
#ifndef MODELWARD_WAITING_H
#define MODELWARD_WAITING_H

#include <stdint.h>

enum {
    MW_FLOWS = 1024,
    MW_NOT_WAITING = UINT32_MAX,
};

typedef struct {
    uint32_t class_;                   /* lower is better: priority, then suspicion */
    uint32_t flow;                     /* index of its flow */
    double start;                      /* virtual time */
    double cost;                       /* of its flow's share: cost / weight */
    void *owner;                       /* borrowed */
    uint32_t *where;                   /* borrowed, the owner's: index in the heap; MW_NOT_WAITING when it is out */
} mw_entry;

typedef struct {
    double finish;                     /* virtual time up to which its requests have been stamped */
    uint32_t waiting;
} mw_flow;

typedef struct {
    mw_entry *entry;                   /* owned; [2i] is the better end of node i, [2i + 1] the worse */
    uint32_t count;
    uint32_t room;                     /* entries there is memory for */
    uint32_t capacity;                 /* entries that may wait */
    uint32_t active;                   /* flows with somebody waiting */
    double virtual_time;               /* the stamp of who was let in last */
    mw_flow flow[MW_FLOWS];
} mw_waiting;

void mw_waiting_init(mw_waiting *w, uint32_t capacity);
void mw_waiting_free(mw_waiting *w);

/* The flow of an identity's key, which is a keyed hash already. */
static inline uint32_t mw_waiting_flow(uint64_t key) { return (uint32_t)(key ^ key >> 32) % MW_FLOWS; }

/* Stamps a request that is let in without waiting, so that its flow pays for it all the same. */
void mw_waiting_pass(mw_waiting *w, uint64_t key, double cost);

/* 1: waits. 0: there is no room and it is the worst of all, or there is no memory: refused. If it takes the place of a
 * worse one, that one's owner is in *shed (else NULL) and out already. */
int mw_waiting_push(mw_waiting *w, uint32_t class_, uint64_t key, double cost, void *owner, uint32_t *where, void **shed);

/* The best, or NULL; it is out. */
void *mw_waiting_pop(mw_waiting *w);

/* One that gives up waiting; nothing where it does not wait. */
void mw_waiting_remove(mw_waiting *w, uint32_t *where);

/* How many will be let in before a newcomer of that key, at most about: all who wait, or its own flow's backlog once for
 * every flow that has one. */
static inline double mw_waiting_ahead(const mw_waiting *w, uint64_t key) {
    const mw_flow *f = &w->flow[mw_waiting_flow(key)];
    double fair = (double)(f->waiting + 1) * (double)(w->active + (f->waiting == 0)) - 1;
    return fair < (double)w->count ? fair : (double)w->count;
}

#endif
