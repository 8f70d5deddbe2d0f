/* Well-formed UTF-8 as in the Unicode Standard, table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef MODELWARD_UTF8_H
#define MODELWARD_UTF8_H

#include "tensor.h"

/* The length of the well-formed sequence of two to four bytes that starts at p, or 0. */
static inline size_t mw_utf8_sequence(const uint8_t *p, size_t left) {
    uint8_t lead = p[0], low = 0x80, high = 0xbf;
    size_t size;
    if (lead >= 0xc2 && lead <= 0xdf) {
        size = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        size = 3;
        if (lead == 0xe0) low = 0xa0;
        if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        size = 4;
        if (lead == 0xf0) low = 0x90;
        if (lead == 0xf4) high = 0x8f;
    } else {
        return 0;
    }
    if (size > left || p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < size; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return size;
}

/* ASCII, which names nearly always are, goes eight bytes at a time. */
static inline int mw_utf8_valid(mw_span s) {
    const uint64_t high_bits = 0x8080808080808080u;
    size_t i = 0;
    while (i < s.size) {
        uint64_t eight;
        if (s.size - i >= 8 && (memcpy(&eight, s.data + i, 8), (eight & high_bits) == 0)) {
            i += 8;
        } else if (s.data[i] < 0x80) {
            i++;
        } else {
            size_t sequence = mw_utf8_sequence(s.data + i, s.size - i);
            if (!sequence) return 0;
            i += sequence;
        }
    }
    return 1;
}

#endif
