/* Fields written as HPACK has them (RFC 7541), without Huffman's code: shorter by a quarter at twenty times the cost. */
#ifndef MW_HPACK_H
#define MW_HPACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* RFC 7541, section 5.1 */
static inline size_t mw_hpack_integer(uint8_t *to, uint8_t pattern, int bits, size_t value) {
    size_t most = ((size_t)1 << bits) - 1, n = 1;
    if (value < most) {
        to[0] = pattern | (uint8_t)value;
        return 1;
    }
    to[0] = pattern | (uint8_t)most;
    for (value -= most; value > 127; value >>= 7) to[n++] = (uint8_t)(value & 127) | 128;
    to[n++] = (uint8_t)value;
    return n;
}

static inline size_t mw_hpack_string(uint8_t *to, const void *text, size_t size) {
    size_t n = mw_hpack_integer(to, 0, 7, size);
    if (size) memcpy(to + n, text, size);
    return n + size;
}

/* One literal field, not to be indexed by anybody on the way; at most name + value + 21 bytes. */
static inline size_t mw_hpack_field(uint8_t *to, const void *name, size_t name_size, const void *value,
                                    size_t value_size) {
    to[0] = 0x10; /* never indexed: any of a client's metadata may be a secret */
    size_t n = 1 + mw_hpack_string(to + 1, name, name_size);
    return n + mw_hpack_string(to + n, value, value_size);
}

#endif
