/* What clients are told of the guards of outputs. */
#ifndef MODELWARD_GUARD_NAMES_H
#define MODELWARD_GUARD_NAMES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MW_GUARD_TEXT = 96 }; /* of all names, and commas between them */

/* The names of the bits 1 << kind, in the order of mw_guard_kind (guard.h). Returns their length. */
static inline size_t mw_guard_names(uint32_t guards, char *text) {
    static const char *const name[] = {"readable",  "finite",     "range",      "sum",  "not_above",
                                       "not_below", "rises_with", "falls_with", "mean", "budget"};
    size_t size = 0;
    for (unsigned kind = 0; kind < sizeof name / sizeof name[0]; kind++) {
        if (!(guards >> kind & 1)) continue;
        if (size) text[size++] = ',';
        memcpy(text + size, name[kind], strlen(name[kind]));
        size += strlen(name[kind]);
    }
    return size;
}

#endif
