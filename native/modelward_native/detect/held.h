/* Answers that are held back: how many a process holds at a time, in all and of one identity.
 *
 * A request takes a place before it costs anything, and keeps it until nothing refers to it any more. One pointer to its place is
 * all that it has to give back. No I/O, no clock, no allocation. */
#ifndef MODELWARD_HELD_H
#define MODELWARD_HELD_H

#include <stdint.h>

enum { MW_HELD = 1024, MW_HELD_OF_ONE = 32 };

typedef struct {
    uint64_t of[MW_HELD]; /* by place the identity's hash; 0: free */
} mw_held;

/* NULL where there is no place, or the identity has its share. */
static inline uint64_t *mw_held_take(mw_held *held, uint64_t identity) {
    const uint64_t mine = identity ? identity : 1;
    uint64_t *place = (uint64_t *)0;
    int count = 0;
    for (int i = 0; i < MW_HELD; i++) {
        count += held->of[i] == mine;
        if (held->of[i] == 0) place = &held->of[i];
    }
    if (place == (uint64_t *)0 || count >= MW_HELD_OF_ONE) return (uint64_t *)0;
    *place = mine;
    return place;
}

static inline void mw_held_give_back(uint64_t *place) { *place = 0; }

#endif
