/* The monotonic clock. Read once per tick of the loop, and around a run; everything else takes time as an argument. */
#ifndef MODELWARD_CLOCK_H
#define MODELWARD_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t mw_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
