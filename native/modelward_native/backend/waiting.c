#include "waiting.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 64, NONE = MW_NOT_WAITING, BAND_SHIFT = 16 };

void mw_waiting_init(mw_waiting *w, uint32_t capacity) {
    memset(w, 0, sizeof *w);
    w->capacity = capacity;
    w->free_entry = w->free_line = NONE;
}

void mw_waiting_free(mw_waiting *w) {
    free(w->entry);
    free(w->line);
    w->entry = NULL;
    w->line = NULL;
    w->count = w->entry_room = w->line_room = 0;
    w->free_entry = w->free_line = NONE;
}

/* ---- memory ---- */

static int reserve_entry(mw_waiting *w) {
    if (w->free_entry != NONE) return 1;
    uint32_t room = w->entry_room ? 2 * w->entry_room : FIRST_ROOM;
    mw_entry *entry = realloc(w->entry, room * sizeof *entry);
    if (entry == NULL) return 0;
    for (uint32_t i = w->entry_room; i < room; i++) entry[i].next = i + 1 < room ? i + 1 : NONE;
    w->free_entry = w->entry_room;
    w->entry = entry;
    w->entry_room = room;
    return 1;
}

static int reserve_line(mw_waiting *w) {
    if (w->free_line != NONE) return 1;
    uint32_t room = w->line_room ? 2 * w->line_room : FIRST_ROOM;
    mw_line *line = realloc(w->line, room * sizeof *line);
    if (line == NULL) return 0;
    for (uint32_t i = w->line_room; i < room; i++) line[i].next = i + 1 < room ? i + 1 : NONE;
    w->free_line = w->line_room;
    w->line = line;
    w->line_room = room;
    return 1;
}

/* ---- flows that wait: a binary heap ---- */

static uint32_t band_of(const mw_waiting *w, const mw_flow *f) { return w->line[f->first].order >> BAND_SHIFT; }

static int sooner(const mw_waiting *w, uint16_t a, uint16_t b) {
    const mw_flow *x = &w->flow[a], *y = &w->flow[b];
    uint32_t band_x = band_of(w, x), band_y = band_of(w, y);
    return band_x != band_y ? band_x < band_y : x->start < y->start;
}

static void put(mw_waiting *w, uint32_t at, uint16_t flow) {
    w->heap[at] = flow;
    w->flow[flow].heap = at;
}

/* The flow's place after its band or its start has changed, or at its end. */
static void settle(mw_waiting *w, uint16_t flow) {
    uint32_t at = w->flow[flow].heap;
    while (at > 0 && sooner(w, flow, w->heap[(at - 1) / 2])) {
        put(w, at, w->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->active) break;
        if (child + 1 < w->active && sooner(w, w->heap[child + 1], w->heap[child])) child++;
        if (!sooner(w, w->heap[child], flow)) break;
        put(w, at, w->heap[child]);
        at = child;
    }
    put(w, at, flow);
}

static void leave_heap(mw_waiting *w, uint16_t flow) {
    uint32_t at = w->flow[flow].heap;
    uint16_t last = w->heap[--w->active];
    if (last == flow) return;
    put(w, at, last);
    settle(w, last);
}

/* ---- lines ---- */

static void take_out(mw_waiting *w, uint32_t at) {
    mw_entry *e = &w->entry[at];
    mw_line *line = &w->line[e->line];
    mw_flow *f = &w->flow[line->flow];
    uint16_t flow = (uint16_t)line->flow;
    if (e->previous != NONE) w->entry[e->previous].next = e->next;
    else line->first = e->next;
    if (e->next != NONE) w->entry[e->next].previous = e->previous;
    else line->last = e->previous;
    *e->where = MW_NOT_WAITING;
    if (line->first == NONE) {
        if (line->previous != NONE) w->line[line->previous].next = line->next;
        else f->first = line->next;
        if (line->next != NONE) w->line[line->next].previous = line->previous;
        else f->last = line->previous;
        line->next = w->free_line;
        w->free_line = e->line;
    }
    e->next = w->free_entry;
    w->free_entry = at;
    w->count--;
    if (--f->waiting == 0) leave_heap(w, flow);
    else settle(w, flow);
}

/* The flow's line of this order, made where there is none: there is memory for one. */
static uint32_t line_of(mw_waiting *w, uint32_t flow, uint32_t order) {
    mw_flow *f = &w->flow[flow];
    uint32_t before = f->waiting ? f->last : NONE;
    while (before != NONE && w->line[before].order > order) before = w->line[before].previous;
    if (before != NONE && w->line[before].order == order) return before;
    uint32_t made = w->free_line;
    mw_line *line = &w->line[made];
    w->free_line = line->next;
    line->order = order;
    line->flow = flow;
    line->first = line->last = NONE;
    line->previous = before;
    line->next = before != NONE ? w->line[before].next : f->waiting ? f->first : NONE;
    if (before != NONE) w->line[before].next = made;
    else f->first = made;
    if (line->next != NONE) w->line[line->next].previous = made;
    else f->last = made;
    return made;
}

/* ---- what callers use ---- */

void mw_waiting_pass(mw_waiting *w, uint64_t key, double cost) {
    mw_flow *f = &w->flow[mw_waiting_flow(key)];
    if (f->waiting == 0 && f->start < w->virtual_time) f->start = w->virtual_time;
    if (w->count == 0) w->virtual_time = f->start;
    mw_waiting_correct(w, key, cost);
}

void mw_waiting_correct(mw_waiting *w, uint64_t key, double more) {
    uint32_t flow = mw_waiting_flow(key);
    w->flow[flow].start += more;
    if (w->flow[flow].waiting) settle(w, (uint16_t)flow);
}

/* The entry that a newcomer takes the place of, or NONE. */
static uint32_t shed_for(const mw_waiting *w, uint32_t flow, uint32_t order) {
    const mw_flow *own = &w->flow[flow], *most = NULL;
    uint32_t worst_band = 0;
    for (uint32_t i = 0; i < w->active; i++) {
        const mw_flow *f = &w->flow[w->heap[i]];
        uint32_t band = w->line[f->last].order >> BAND_SHIFT;
        if (most == NULL || band > worst_band || (band == worst_band && f->waiting > most->waiting)) {
            most = f;
            worst_band = band;
        }
    }
    if (most == NULL) return NONE;
    uint32_t band = order >> BAND_SHIFT;
    if (band < worst_band || (band == worst_band && most != own && own->waiting + 1 < most->waiting))
        return w->line[most->last].last;
    if (own->waiting && w->line[own->last].order > order) return w->line[own->last].last;
    return NONE;
}

int mw_waiting_push(mw_waiting *w, uint16_t band, uint16_t own, uint64_t key, double cost, void *owner, uint32_t *where,
                    void **shed) {
    uint32_t flow = mw_waiting_flow(key), order = (uint32_t)band << BAND_SHIFT | own;
    mw_flow *f = &w->flow[flow];
    *shed = NULL;
    if (!reserve_line(w)) return 0;
    if (w->count >= w->capacity) {
        uint32_t worst = shed_for(w, flow, order);
        if (worst == NONE) return 0;
        *shed = w->entry[worst].owner;
        take_out(w, worst);
    }
    if (!reserve_entry(w)) return 0; /* not where one was shed */
    /* what did not wait, or not in so good a band, has no claim to the time in which it was not served */
    if ((f->waiting == 0 || band < band_of(w, f)) && f->start < w->virtual_time) f->start = w->virtual_time;
    uint32_t at = w->free_entry, line = line_of(w, flow, order);
    mw_entry *e = &w->entry[at];
    w->free_entry = e->next;
    *e = (mw_entry){cost, owner, where, line, NONE, w->line[line].last};
    if (e->previous != NONE) w->entry[e->previous].next = at;
    else w->line[line].first = at;
    w->line[line].last = at;
    *where = at;
    w->count++;
    if (f->waiting++ == 0) put(w, w->active++, (uint16_t)flow);
    settle(w, (uint16_t)flow);
    return 1;
}

void *mw_waiting_pop(mw_waiting *w) {
    if (w->count == 0) return NULL;
    mw_flow *f = &w->flow[w->heap[0]];
    uint32_t at = w->line[f->first].first;
    void *owner = w->entry[at].owner;
    if (f->start > w->virtual_time) w->virtual_time = f->start;
    f->start += w->entry[at].cost;
    take_out(w, at);
    return owner;
}

void mw_waiting_remove(mw_waiting *w, uint32_t *where) {
    if (*where != MW_NOT_WAITING) take_out(w, *where);
}
