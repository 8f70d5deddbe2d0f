/* Freed structs of one size, kept to be used again: a chain through their first bytes. One thread's alone. */
#ifndef MODELWARD_SPARE_H
#define MODELWARD_SPARE_H

#include <stdlib.h>
#include <string.h>

typedef struct {
    void *first;
    unsigned count;
} mw_spares;

/* One as it was freed, but for its first bytes; NULL where there is none. */
static inline void *mw_spare_take(mw_spares *s) {
    void *item = s->first;
    if (!item) return NULL;
    memcpy(&s->first, item, sizeof s->first);
    s->count--;
    return item;
}

/* One that is zeroed; NULL for want of memory. */
static inline void *mw_spare_new(mw_spares *s, size_t size) {
    void *item = mw_spare_take(s);
    return item ? memset(item, 0, size) : calloc(1, size);
}

/* Keeps it, or frees it where there are `most`. */
static inline void mw_spare_keep(mw_spares *s, void *item, unsigned most) {
    if (s->count >= most) {
        free(item);
        return;
    }
    memcpy(item, &s->first, sizeof s->first);
    s->first = item;
    s->count++;
}

#endif
