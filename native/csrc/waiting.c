#include "waiting.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 64 };

void mw_waiting_init(mw_waiting *w, uint32_t capacity) {
    memset(w, 0, sizeof *w);
    w->capacity = capacity;
}

void mw_waiting_free(mw_waiting *w) {
    free(w->entry);
    w->entry = NULL;
    w->count = w->room = 0;
}

static int better(const mw_entry *a, const mw_entry *b) {
    return a->class_ != b->class_ ? a->class_ < b->class_ : a->start < b->start;
}

static void place(mw_waiting *w, uint32_t at, mw_entry e) {
    w->entry[at] = e;
    *e.where = at;
}

static void swap(mw_waiting *w, uint32_t a, uint32_t b) {
    mw_entry e = w->entry[a];
    place(w, a, w->entry[b]);
    place(w, b, e);
}

/* Towards the root along the better ends. */
static void rise_better(mw_waiting *w, uint32_t at) {
    while (at >= 2) {
        uint32_t parent = (at / 2 - 1) / 2 * 2;
        if (!better(&w->entry[at], &w->entry[parent])) return;
        swap(w, at, parent);
        at = parent;
    }
}

/* Towards the root along the worse ends. */
static void rise_worse(mw_waiting *w, uint32_t at) {
    while (at >= 2) {
        uint32_t parent = (at / 2 - 1) / 2 * 2 + 1;
        if (!better(&w->entry[parent], &w->entry[at])) return;
        swap(w, at, parent);
        at = parent;
    }
}

/* Whatever is at `at` may be better or worse than its surroundings. */
static void settle_up(mw_waiting *w, uint32_t at) {
    uint32_t other = at ^ 1;
    if (at & 1) {
        if (better(&w->entry[at], &w->entry[other])) {
            swap(w, at, other);
            rise_better(w, other);
            return;
        }
        rise_worse(w, at);
    } else if (other < w->count) {
        if (better(&w->entry[other], &w->entry[at])) {
            swap(w, at, other);
            rise_worse(w, other);
            return;
        }
        rise_better(w, at);
    } else if (at >= 2) {  /* the last, alone in its node: both ends at once */
        uint32_t parent = (at / 2 - 1) / 2 * 2;
        if (better(&w->entry[at], &w->entry[parent])) {
            rise_better(w, at);
        } else if (better(&w->entry[parent + 1], &w->entry[at])) {
            swap(w, at, parent + 1);
            rise_worse(w, parent + 1);
        }
    }
}

/* Away from the root; returns where it ended. */
static uint32_t sink_better(mw_waiting *w, uint32_t at) {
    for (;;) {
        uint32_t left = 2 * (at / 2) * 2 + 2, right = left + 2, child = left;
        if (left >= w->count) return at;
        if (right < w->count && better(&w->entry[right], &w->entry[left])) child = right;
        if (!better(&w->entry[child], &w->entry[at])) return at;
        swap(w, at, child);
        at = child;
        if (at + 1 < w->count && better(&w->entry[at + 1], &w->entry[at])) swap(w, at, at + 1);
    }
}

static uint32_t worse_end(const mw_waiting *w, uint32_t node) {
    uint32_t at = 2 * node + 1;
    return at < w->count ? at : at - 1;
}

static uint32_t sink_worse(mw_waiting *w, uint32_t at) {
    for (;;) {
        uint32_t left = 2 * (at / 2) + 1, right = left + 1, child;
        if (2 * left >= w->count) return at;
        child = worse_end(w, left);
        if (2 * right < w->count && better(&w->entry[child], &w->entry[worse_end(w, right)])) child = worse_end(w, right);
        if (!better(&w->entry[at], &w->entry[child])) return at;
        swap(w, at, child);
        at = child;
        if ((at & 1) && better(&w->entry[at], &w->entry[at - 1])) swap(w, at, at - 1);
    }
}

static void take_out(mw_waiting *w, uint32_t at) {
    mw_entry gone = w->entry[at];
    uint32_t last = --w->count;
    if (at != last) {
        uint32_t low = at & ~1u, high = low + 1;
        place(w, at, w->entry[last]);
        if (high < w->count && better(&w->entry[high], &w->entry[low])) {
            swap(w, low, high);
            if (at & 1) rise_better(w, low);
            else rise_worse(w, high);
        }
        settle_up(w, (at & 1) ? sink_worse(w, at) : sink_better(w, at));
    }
    *gone.where = MW_NOT_WAITING;
    if (--w->flow[gone.flow].waiting == 0) w->active--;
}

static double stamp(const mw_waiting *w, uint32_t flow) {
    double finish = w->flow[flow].finish;
    return finish > w->virtual_time ? finish : w->virtual_time;
}

void mw_waiting_pass(mw_waiting *w, uint64_t key, double cost) {
    uint32_t flow = mw_waiting_flow(key);
    w->flow[flow].finish = stamp(w, flow) + cost;
    if (w->count == 0) w->virtual_time = w->flow[flow].finish - cost;
}

int mw_waiting_push(mw_waiting *w, uint32_t class_, uint64_t key, double cost, void *owner, uint32_t *where, void **shed) {
    mw_entry e = {class_, mw_waiting_flow(key), 0, cost, owner, where};
    *shed = NULL;
    e.start = stamp(w, e.flow);
    if (w->count >= w->capacity) {
        uint32_t worst = w->count > 1 ? 1 : 0;
        if (w->count == 0 || !better(&e, &w->entry[worst])) return 0;
        *shed = w->entry[worst].owner;
        w->flow[w->entry[worst].flow].finish -= w->entry[worst].cost;  /* it paid for nothing */
        take_out(w, worst);
        e.start = stamp(w, e.flow);
    }
    if (w->count == w->room) {
        uint32_t room = w->room ? 2 * w->room : FIRST_ROOM;
        mw_entry *entry = realloc(w->entry, room * sizeof *entry);
        if (entry == NULL) return 0;
        w->entry = entry;
        w->room = room;
    }
    w->flow[e.flow].finish = e.start + cost;
    if (w->flow[e.flow].waiting++ == 0) w->active++;
    place(w, w->count++, e);
    settle_up(w, w->count - 1);
    return 1;
}

void *mw_waiting_pop(mw_waiting *w) {
    if (w->count == 0) return NULL;
    void *owner = w->entry[0].owner;
    if (w->entry[0].start > w->virtual_time) w->virtual_time = w->entry[0].start;
    take_out(w, 0);
    return owner;
}

void mw_waiting_remove(mw_waiting *w, uint32_t *where) {
    if (*where == MW_NOT_WAITING) return;
    w->flow[w->entry[*where].flow].finish -= w->entry[*where].cost;
    take_out(w, *where);
}
