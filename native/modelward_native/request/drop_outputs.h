/* Outputs taken out of an answer: those that were made for guards and evidence, and that its client has not asked for. */
#ifndef MODELWARD_DROP_OUTPUTS_H
#define MODELWARD_DROP_OUTPUTS_H

#include <string.h>

#include "oip.h"
#include "protobuf.h"

#define MW_NOT_DROPPED SIZE_MAX

/* The name of an InferOutputTensor: the last of several counts, as for every reader. typed: it has contents of its own.
 * 0: it is malformed. */
static inline int mw_read_output(mw_span tensor, mw_span *name, int *typed) {
    mw_cursor c = mw_cursor_over(tensor);
    mw_span contents;
    uint32_t tag;
    *name = (mw_span){NULL, 0};
    while (c.at < c.end) {
        if (!mw_read_tag(&c, &tag)) return 0;
        if (tag == MW_TAG(1, MW_WIRE_LEN)) {
            if (!mw_read_bytes(&c, name)) return 0;
        } else if (tag == MW_TAG(5, MW_WIRE_LEN)) {
            if (!mw_read_bytes(&c, &contents)) return 0;
            if (contents.size) *typed = 1;
        } else if (!mw_skip(&c, tag, 1)) {
            return 0;
        }
    }
    return 1;
}

static inline int mw_is_among(mw_span name, const mw_span *names, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (names[i].size == name.size && (name.size == 0 || memcmp(names[i].data, name.data, name.size) == 0))
            return 1;
    return 0;
}

/* Drops the outputs of these names, and their raw contents, from a ModelInferResponse in place. Returns how many bytes it has
 * then; MW_NOT_DROPPED where it is malformed, has more than MW_MAX_TENSORS outputs or would have none, or where raw contents,
 * which have no name but their place, are not those of all outputs and their only ones: then nothing is changed. */
static inline size_t mw_drop_outputs(uint8_t *message, size_t size, const mw_span *names, uint32_t count) {
    uint8_t dropped[MW_MAX_TENSORS];
    uint32_t outputs = 0, raws = 0, kept = 0, raw = 0, tag;
    int typed = 0;
    mw_span field, name;
    mw_cursor c = mw_cursor_over((mw_span){message, size});
    uint8_t *to = message;
    while (c.at < c.end) {
        if (!mw_read_tag(&c, &tag)) return MW_NOT_DROPPED;
        if (tag != MW_TAG(5, MW_WIRE_LEN)) {
            if (!mw_skip(&c, tag, 0)) return MW_NOT_DROPPED;
            raws += tag == MW_TAG(6, MW_WIRE_LEN);
        } else {
            if (outputs == MW_MAX_TENSORS || !mw_read_bytes(&c, &field) || !mw_read_output(field, &name, &typed))
                return MW_NOT_DROPPED;
            dropped[outputs] = (uint8_t)mw_is_among(name, names, count);
            kept += !dropped[outputs++];
        }
    }
    if (!kept || (raws && (raws != outputs || typed))) return MW_NOT_DROPPED;
    c = mw_cursor_over((mw_span){message, size});
    for (uint32_t output = 0; c.at < c.end;) {
        const uint8_t *begin = c.at;
        int drops = 0;
        if (!mw_read_tag(&c, &tag) || !mw_skip(&c, tag, 0)) return MW_NOT_DROPPED; /* it was read once */
        if (tag == MW_TAG(5, MW_WIRE_LEN)) {
            drops = dropped[output++];
        } else if (tag == MW_TAG(6, MW_WIRE_LEN)) {
            drops = dropped[raw++];
        }
        if (drops) continue;
        const size_t part = (size_t)(c.at - begin);
        if (to != begin) memmove(to, begin, part);
        to += part;
    }
    return (size_t)(to - message);
}

#endif
