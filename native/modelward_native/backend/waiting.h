/* The queue before a backend: fair between identities, by priority within each of them.
 *
 * Fairness is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) over flows. A flow is an identity. It has a virtual
 * start time, which grows with what its requests cost, and the flow that starts first is served next. Which of its own requests
 * goes then is the flow's matter: the lowest `own` order, and in the order of arrival among equals. So no request can gain
 * anything at the cost of another identity by its priority.
 *
 * `band` comes before fairness: a flow whose best request is in a lower band is served first. Only an operator sets it.
 *
 * A full queue sheds from the highest band, there from the flow that has most requests, and of these the last of its worst.
 * A newcomer whose flow would have most itself takes only the place of its own worse requests.
 *
 * Flows are in a fixed table by hash of their key; two identities that meet in it share one share. Entries know where they are
 * through `where`, a field of their owner. Push, pop and remove take O(log flows), and a walk over the different orders that wait
 * in the same flow; shedding looks at every flow that waits. Memory: 48 bytes an entry and 24 for each order that waits, taken
 * in doublings, and 36 KiB for flows. No I/O, no clock. */
#ifndef MODELWARD_WAITING_H
#define MODELWARD_WAITING_H

#include <stdint.h>

enum {
    MW_FLOWS = 1024,
    MW_NOT_WAITING = UINT32_MAX,
};

typedef struct {
    double cost;             /* of its flow's share: cost / weight */
    void *owner;             /* borrowed: an exchange before a gate, or a message before the inflater */
    uint32_t *where;         /* borrowed, the owner's: index of the entry; MW_NOT_WAITING when it is out */
    uint32_t line;           /* that it stands in */
    uint32_t next, previous; /* in the line, or MW_NOT_WAITING; next: also of free entries */
} mw_entry;

typedef struct {    /* requests of one flow that are alike, in the order of their arrival */
    uint32_t order; /* band, then own: lower goes first */
    uint32_t flow;
    uint32_t first, last;    /* entries */
    uint32_t next, previous; /* the flow's lines by order; next: also of free lines */
} mw_line;

typedef struct {
    double start; /* virtual time: while it waits when its next request begins; else when its last one ended */
    uint32_t waiting;
    uint32_t first, last; /* lines; only while it waits */
    uint32_t heap;        /* index in mw_waiting.heap; only while it waits */
} mw_flow;

typedef struct {
    mw_entry *entry;                /* owned */
    mw_line *line;                  /* owned */
    uint32_t entry_room, line_room; /* that there is memory for */
    uint32_t free_entry, free_line;
    uint32_t count;
    uint32_t capacity;       /* entries that may wait */
    uint32_t active;         /* flows that wait */
    double virtual_time;     /* start of the flow that was served last */
    uint16_t heap[MW_FLOWS]; /* flows that wait, the next one first */
    mw_flow flow[MW_FLOWS];
} mw_waiting;

void mw_waiting_init(mw_waiting *w, uint32_t capacity);
void mw_waiting_free(mw_waiting *w);

/* The flow of an identity's key, which is a keyed hash already. */
static inline uint32_t mw_waiting_flow(uint64_t key) { return (uint32_t)(key ^ key >> 32) % MW_FLOWS; }

/* A request that is let in without waiting: its flow pays for it all the same. */
void mw_waiting_pass(mw_waiting *w, uint64_t key, double cost);

/* A request that has been let in turned out to cost so much more (or less). */
void mw_waiting_correct(mw_waiting *w, uint64_t key, double more);

/* 1: waits. 0: there is no room for it, or no memory: refused. If it takes the place of another, that one's owner is in *shed
 * (else NULL) and out already. */
int mw_waiting_push(mw_waiting *w, uint16_t band, uint16_t own, uint64_t key, double cost, void *owner, uint32_t *where,
                    void **shed);

/* The next, or NULL; it is out. */
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
