/* Parameters that this server alone may set, taken out of what an upstream has answered: a client believes them. */
#ifndef MODELWARD_OWN_PARAMETERS_H
#define MODELWARD_OWN_PARAMETERS_H

#include <string.h>

#include "protobuf.h"

/* Whether an entry of `parameters` has such a key; of several keys any. */
static inline int mw_is_own_parameter(mw_span entry) {
    static const char prefix[] = "modelward_";
    mw_cursor c = mw_cursor_over(entry);
    mw_span key;
    uint32_t tag;
    while (c.at < c.end && mw_read_tag(&c, &tag)) {
        if (tag != MW_TAG(1, MW_WIRE_LEN)) {
            if (!mw_skip(&c, tag, 1)) return 0;
        } else if (!mw_read_bytes(&c, &key)) {
            return 0;
        } else if (key.size >= sizeof prefix - 1 && memcmp(key.data, prefix, sizeof prefix - 1) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Drops them from a ModelInferResponse in place, and returns how many bytes it has then. One that is malformed is left as it is
 * from there on. Fields are stepped over by their lengths: tensors are not read. */
static inline size_t mw_drop_own_parameters(uint8_t *message, size_t size) {
    mw_cursor c = mw_cursor_over((mw_span){message, size});
    uint8_t *to = message;
    while (c.at < c.end) {
        const uint8_t *begin = c.at;
        uint32_t tag;
        mw_span field = {NULL, 0};
        int well =
            mw_read_tag(&c, &tag) && (tag == MW_TAG(4, MW_WIRE_LEN) ? mw_read_bytes(&c, &field) : mw_skip(&c, tag, 0));
        if (well && field.data && mw_is_own_parameter(field)) continue;
        const size_t part = (size_t)((well ? c.at : c.end) - begin);
        if (to != begin) memmove(to, begin, part);
        to += part;
        if (!well) break;
    }
    return (size_t)(to - message);
}

#endif
