/* Timers: a hierarchical timing wheel of intrusive nodes, time as an argument.
 *
 * Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7. Eight levels of 64 slots
 * hold every tick an int64 of nanoseconds can name. A node sits on the level of the highest base-64 digit in which
 * its due tick differs from the wheel's current tick, in the slot of that digit; so every occupied slot lies ahead
 * of the current digit, nothing wraps, everything on one level is due before anything on the next, and finding the
 * next slot is two bit scans however far away it is.
 *
 * Nodes live inside the structs whose deadline they are and belong to them: cancel before freeing. A node never
 * fires before its due time; it fires in the first advance whose time has reached its due time rounded up to a whole
 * tick. */
#ifndef MODELWARD_WHEEL_H
#define MODELWARD_WHEEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    MW_TICK_SHIFT = 20, /* a tick is 2^20 ns = 1.05 ms: rounding is a shift */
    MW_WHEEL_BITS = 6,
    MW_WHEEL_SLOTS = 1 << MW_WHEEL_BITS,
    MW_WHEEL_LEVELS = 8,                                 /* 8 x 6 bits; ticks of an int64 of nanoseconds have 43 */
    MW_WHEEL_OVERDUE = MW_WHEEL_LEVELS * MW_WHEEL_SLOTS, /* list: added with a tick that has already passed */
    MW_WHEEL_EXPIRED,                                    /* list: taken by mw_wheel_advance, not yet popped */
    MW_WHEEL_LISTS,
};

#define MW_TICK_NS (INT64_C(1) << MW_TICK_SHIFT)
#define MW_NO_TIMER INT64_MAX

typedef struct mw_link {
    struct mw_link *next, *prev;
} mw_link;

typedef struct mw_timer mw_timer;
struct mw_timer {
    mw_link link; /* first: a link is its timer; next is NULL while the timer is in no wheel */
    int64_t due_tick;
    void (*fire)(mw_timer *timer, int64_t now_ns); /* the owner's; called with the timer already out of the wheel */
};

/* 8.3 KiB; must not move once initialised (lists are circular through their heads). */
typedef struct {
    int64_t tick;    /* every tick up to this one has been taken */
    uint64_t levels; /* bit l: occupied[l] is not 0 */
    uint64_t occupied[MW_WHEEL_LEVELS];
    mw_link list[MW_WHEEL_LISTS];
} mw_wheel;

void mw_wheel_init(mw_wheel *wheel, int64_t now_ns);

/* Takes everything due by now_ns out of the slots; mw_wheel_pop hands it out. Cost: O(what expires or moves down a
 * level), independent of the time passed. A now_ns before an earlier one takes only what was added overdue. */
void mw_wheel_advance(mw_wheel *wheel, int64_t now_ns);

static inline void mw_timer_init(mw_timer *timer, void (*fire)(mw_timer *, int64_t)) {
    timer->link.next = timer->link.prev = NULL;
    timer->due_tick = 0;
    timer->fire = fire;
}

static inline int mw_timer_pending(const mw_timer *timer) { return timer->link.next != NULL; }

/* When the timer will fire, at the earliest: its due time rounded up to a tick. */
static inline int64_t mw_timer_due_ns(const mw_timer *timer) {
    return timer->due_tick > INT64_MAX >> MW_TICK_SHIFT ? INT64_MAX : timer->due_tick * MW_TICK_NS;
}

static inline void mw_wheel_place(mw_wheel *wheel, mw_timer *timer) {
    size_t where = MW_WHEEL_OVERDUE;
    if (timer->due_tick > wheel->tick) {
        unsigned level = (63u - (unsigned)__builtin_clzll((uint64_t)(timer->due_tick ^ wheel->tick))) / MW_WHEEL_BITS;
        unsigned slot = (unsigned)(timer->due_tick >> (level * MW_WHEEL_BITS)) & (MW_WHEEL_SLOTS - 1);
        wheel->occupied[level] |= UINT64_C(1) << slot;
        wheel->levels |= UINT64_C(1) << level;
        where = level * MW_WHEEL_SLOTS + slot;
    }
    mw_link *head = &wheel->list[where];
    timer->link.next = head;
    timer->link.prev = head->prev;
    head->prev->next = &timer->link;
    head->prev = &timer->link;
}

/* The timer must not be pending. One whose tick has passed fires in the next advance (not in one that is being
 * popped). */
static inline void mw_wheel_add(mw_wheel *wheel, mw_timer *timer, int64_t due_ns) {
    timer->due_tick = (due_ns >> MW_TICK_SHIFT) + ((due_ns & (MW_TICK_NS - 1)) != 0);
    mw_wheel_place(wheel, timer);
}

/* Safe on a timer that is not pending, and from within fire() on any timer. */
static inline void mw_wheel_cancel(mw_wheel *wheel, mw_timer *timer) {
    mw_link *next = timer->link.next, *prev = timer->link.prev;
    if (next == NULL) return;
    next->prev = prev;
    prev->next = next;
    timer->link.next = timer->link.prev = NULL;
    if (next != prev) return; /* one neighbour on both sides is the head: unless the list is now empty, they differ */
    size_t where = (size_t)(next - wheel->list);
    if (where >= MW_WHEEL_OVERDUE || next->next != next) return;
    size_t level = where / MW_WHEEL_SLOTS;
    wheel->occupied[level] &= ~(UINT64_C(1) << (where % MW_WHEEL_SLOTS));
    if (wheel->occupied[level] == 0) wheel->levels &= ~(UINT64_C(1) << level);
}

/* The next expired timer, no longer pending, or NULL. One at a time, so that firing it may add or cancel any other. */
static inline mw_timer *mw_wheel_pop(mw_wheel *wheel) {
    mw_link *head = &wheel->list[MW_WHEEL_EXPIRED];
    if (head->next == head) return NULL;
    mw_timer *timer = (mw_timer *)head->next;
    mw_wheel_cancel(wheel, timer);
    return timer;
}

/* First tick of the first occupied slot: the next due tick, or the tick at which timers move down a level towards
 * theirs. */
static inline int64_t mw_wheel_next_tick(const mw_wheel *wheel) {
    if (wheel->levels == 0) return INT64_MAX;
    unsigned level = (unsigned)__builtin_ctzll(wheel->levels);
    unsigned shift = level * MW_WHEEL_BITS;
    int64_t above = wheel->tick >> shift >> MW_WHEEL_BITS << MW_WHEEL_BITS;
    return (above | __builtin_ctzll(wheel->occupied[level])) << shift;
}

/* A time at or before that of the next timer to fire, for the one loop timer; MW_NO_TIMER if there is none. */
static inline int64_t mw_wheel_next_ns(const mw_wheel *wheel) {
    const mw_link *overdue = &wheel->list[MW_WHEEL_OVERDUE], *expired = &wheel->list[MW_WHEEL_EXPIRED];
    if (overdue->next != overdue || expired->next != expired) return wheel->tick * MW_TICK_NS;
    int64_t tick = mw_wheel_next_tick(wheel);
    return tick > INT64_MAX >> MW_TICK_SHIFT ? MW_NO_TIMER : tick * MW_TICK_NS;
}

#endif
