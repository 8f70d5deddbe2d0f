/* Protocol buffers' wire format, read from untrusted bytes by a cursor that never leaves its span, and written.
 *
 * Every reader returns 1 and moves the cursor, or returns 0 for malformed input (the cursor is then worthless).
 * What counts as malformed follows upb, the parser inside Python's, Ruby's and PHP's protobuf:
 *   - a tag has at most 5 bytes and 32 bits, and its field number is not 0;
 *   - a varint has at most 10 bytes; bits past the 64th are dropped, not refused;
 *   - a length fits 31 bits and its span;
 *   - groups close with the number that opened them; messages and groups together nest at most 100 deep. */
#ifndef MODELWARD_PROTOBUF_H
#define MODELWARD_PROTOBUF_H

#include "tensor.h"

enum { MW_WIRE_VARINT = 0, MW_WIRE_I64 = 1, MW_WIRE_LEN = 2, MW_WIRE_GROUP = 3, MW_WIRE_END = 4, MW_WIRE_I32 = 5 };
enum { MW_WIRE_DEPTH = 100 };

#define MW_TAG(field, wire) ((uint32_t)(field) << 3 | (uint32_t)(wire))

typedef struct {
    const uint8_t *at, *end;
} mw_cursor;

static inline mw_cursor mw_cursor_over(mw_span s) {
    mw_cursor c = {s.data, s.size ? s.data + s.size : s.data};
    return c;
}

static inline size_t mw_left(const mw_cursor *c) { return (size_t)(c->end - c->at); }

static inline int mw_read_varint(mw_cursor *c, uint64_t *value) {
    if (c->at < c->end && *c->at < 0x80) {
        *value = *c->at++;
        return 1;
    }
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70 && c->at < c->end; shift += 7) {
        uint8_t byte = *c->at++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = v;
            return 1;
        }
    }
    return 0;
}

static inline int mw_read_tag(mw_cursor *c, uint32_t *tag) {
    uint64_t v;
    const uint8_t *start = c->at;
    if (!mw_read_varint(c, &v) || c->at - start > 5 || v > UINT32_MAX || v < MW_TAG(1, 0)) return 0;
    *tag = (uint32_t)v;
    return 1;
}

static inline int mw_skip_bytes(mw_cursor *c, size_t n) {
    if (n > mw_left(c)) return 0;
    c->at += n;
    return 1;
}

static inline int mw_read_bytes(mw_cursor *c, mw_span *s) {
    uint64_t size;
    if (!mw_read_varint(c, &size) || size > INT32_MAX || size > mw_left(c)) return 0;
    s->data = c->at;
    s->size = (size_t)size;
    c->at += size;
    return 1;
}

/* A value that is not a group. */
static inline int mw_skip_scalar(mw_cursor *c, unsigned wire) {
    uint64_t number;
    mw_span bytes;
    switch (wire) {
        case MW_WIRE_VARINT: return mw_read_varint(c, &number);
        case MW_WIRE_I64: return mw_skip_bytes(c, 8);
        case MW_WIRE_LEN: return mw_read_bytes(c, &bytes);
        case MW_WIRE_I32: return mw_skip_bytes(c, 4);
        default: return 0; /* an end that closes nothing here, or one of the two types that do not exist */
    }
}

/* The rest of a group whose start tag was just read. An explicit stack instead of recursion: 400 bytes, whatever comes.
 * Returns the place after its end tag, or NULL. */
__attribute__((noinline, unused)) static const uint8_t *mw_group_end(mw_cursor c, uint32_t field, unsigned room) {
    uint32_t open[MW_WIRE_DEPTH];
    unsigned depth = 0;
    if (room == 0) return NULL;
    open[depth++] = field;
    while (depth > 0) {
        uint32_t tag;
        if (!mw_read_tag(&c, &tag)) return NULL;
        if ((tag & 7) == MW_WIRE_GROUP) {
            if (depth == room) return NULL;
            open[depth++] = tag >> 3;
        } else if ((tag & 7) == MW_WIRE_END) {
            if (open[--depth] != tag >> 3) return NULL;
        } else if (!mw_skip_scalar(&c, tag & 7)) {
            return NULL;
        }
    }
    return c.at;
}

/* The value of an unknown field in a message that lies `depth` messages below the outermost one. */
static inline int mw_skip(mw_cursor *c, uint32_t tag, unsigned depth) {
    if ((tag & 7) != MW_WIRE_GROUP) return mw_skip_scalar(c, tag & 7);
    const uint8_t *after = mw_group_end(*c, tag >> 3, MW_WIRE_DEPTH - depth);
    if (!after) return 0;
    c->at = after;
    return 1;
}

/* ---- writing: the caller has measured first; every put returns the place behind what it wrote ---- */

enum { MW_HEADER_BYTES = 11 }; /* of a field's tag and its length or number, at most */

static inline size_t mw_varint_size(uint64_t v) { return (size_t)(63 - __builtin_clzll(v | 1)) / 7 + 1; }

/* Of a length-delimited field. All field numbers that are written stay below 16: one byte of tag. */
static inline size_t mw_field_size(size_t payload) { return 1 + mw_varint_size(payload) + payload; }

static inline uint8_t *mw_put_varint(uint8_t *at, uint64_t v) {
    for (; v >= 0x80; v >>= 7) *at++ = (uint8_t)(v | 0x80);
    *at++ = (uint8_t)v;
    return at;
}

static inline uint8_t *mw_put_number(uint8_t *at, uint32_t field, uint64_t v) {
    *at++ = (uint8_t)MW_TAG(field, MW_WIRE_VARINT);
    return mw_put_varint(at, v);
}

/* What precedes a payload of that length. */
static inline uint8_t *mw_put_header(uint8_t *at, uint32_t field, size_t payload) {
    *at++ = (uint8_t)MW_TAG(field, MW_WIRE_LEN);
    return mw_put_varint(at, payload);
}

static inline uint8_t *mw_put_bytes(uint8_t *at, uint32_t field, const void *data, size_t size) {
    at = mw_put_header(at, field, size);
    if (size) memcpy(at, data, size); /* an empty span may point nowhere */
    return at + size;
}

#endif
