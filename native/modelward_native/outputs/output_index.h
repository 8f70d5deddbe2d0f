/* Which of the outputs that are looked for a tensor is. */
#ifndef MODELWARD_OUTPUT_INDEX_H
#define MODELWARD_OUTPUT_INDEX_H

#include "find_outputs.h"

static inline int mw_same_text(mw_span a, mw_span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Looked for at the likely place first; `count` for none. */
static inline uint32_t mw_output_index(mw_span name, const mw_declared_output *declared, uint32_t count,
                                       uint32_t likely) {
    if (likely < count && mw_same_text(declared[likely].name, name)) return likely;
    uint32_t i = 0;
    while (i < count && !mw_same_text(declared[i].name, name)) i++;
    return i;
}

#endif
