#include "wheel.h"

void mw_wheel_init(mw_wheel *wheel, int64_t now_ns) {
    /* Never negative: a timer's level is that of the highest bit in which it differs. */
    wheel->tick = now_ns > 0 ? now_ns >> MW_TICK_SHIFT : 0;
    wheel->levels = 0;
    for (int level = 0; level < MW_WHEEL_LEVELS; level++) wheel->occupied[level] = 0;
    for (int i = 0; i < MW_WHEEL_LISTS; i++) wheel->list[i].next = wheel->list[i].prev = &wheel->list[i];
}

/* Appends a whole list to the expired one and leaves it empty. */
static void expire(mw_wheel *wheel, mw_link *list) {
    mw_link *head = &wheel->list[MW_WHEEL_EXPIRED];
    if (list->next == list) return;
    list->next->prev = head->prev;
    head->prev->next = list->next;
    list->prev->next = head;
    head->prev = list->prev;
    list->next = list->prev = list;
}

/* The current tick has reached the start of a slot above level 0: its timers differ from it in a lower digit now, or
 * not at all. */
static void move_down(mw_wheel *wheel, mw_link *list) {
    mw_link *link = list->next;
    list->next = list->prev = list;
    while (link != list) {
        mw_link *next = link->next;
        mw_timer *timer = (mw_timer *)link;
        mw_wheel_place(wheel, timer);
        link = next;
    }
}

void mw_wheel_advance(mw_wheel *wheel, int64_t now_ns) {
    int64_t target = now_ns >> MW_TICK_SHIFT, start;
    mw_link *overdue = &wheel->list[MW_WHEEL_OVERDUE];
    expire(wheel, overdue);
    while ((start = mw_wheel_next_tick(wheel)) <= target) {
        unsigned level = (unsigned)__builtin_ctzll(wheel->levels);
        unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
        mw_link *list = &wheel->list[level * MW_WHEEL_SLOTS + slot];
        wheel->occupied[level] &= wheel->occupied[level] - 1;
        if (wheel->occupied[level] == 0) wheel->levels &= wheel->levels - 1;
        wheel->tick = start;
        if (level == 0) {
            expire(wheel, list);
        } else {
            move_down(wheel, list); /* those due at this very tick go to the overdue list */
            expire(wheel, overdue);
        }
    }
    if (target > wheel->tick) wheel->tick = target;
}
