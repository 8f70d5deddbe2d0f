/* Typed contents turned into the raw form, and the arithmetic that compares raw bytes with a shape. */
#include "oip_parameter.h"

int mw_oip_contents_kind(mw_dtype dtype) {
    switch (dtype) {
        case MW_BOOL: return MW_CONTENTS_BOOL;
        case MW_INT8:
        case MW_INT16:
        case MW_INT32: return MW_CONTENTS_INT;
        case MW_INT64: return MW_CONTENTS_INT64;
        case MW_UINT8:
        case MW_UINT16:
        case MW_UINT32: return MW_CONTENTS_UINT;
        case MW_UINT64: return MW_CONTENTS_UINT64;
        case MW_FP32: return MW_CONTENTS_FP32;
        case MW_FP64: return MW_CONTENTS_FP64;
        case MW_BYTES: return MW_CONTENTS_BYTES;
        default: return 0;
    }
}

size_t mw_oip_contents_size(const mw_scan_input *in, mw_dtype dtype) {
    int kind = mw_oip_contents_kind(dtype);
    if (!kind) return 0;
    size_t size, each = dtype == MW_BYTES ? 4 : mw_dtype_size(dtype);
    if (__builtin_mul_overflow(in->contents_count[kind], each, &size)) return SIZE_MAX;
    if (dtype == MW_BYTES && __builtin_add_overflow(size, in->contents_bytes, &size)) return SIZE_MAX;
    return size;
}

/* ---- the second walk ---- */

typedef struct {
    uint8_t *at, *end;
    uint64_t elements; /* that may still be put: the walk ends with the one that may not */
} sink;

static int put(sink *to, const void *bytes, size_t size) {
    if (size > (size_t)(to->end - to->at)) return 0;
    if (size) memcpy(to->at, bytes, size);
    to->at += size;
    return 1;
}

/* One varint of int, uint, int64, uint64 or bool contents. The 32-bit kinds keep the low half of what was sent, as every
 * protobuf parser does; only then may the value prove too wide for an 8- or 16-bit datatype.
 * Storing the low bytes of a 64-bit word relies on a little-endian machine, as the raw form itself does. */
static int put_integer(sink *to, uint64_t sent, mw_dtype dtype) {
    uint64_t value = sent;
    if (to->elements-- == 0) return 0;
    switch (dtype) {
        case MW_BOOL: value = sent != 0; break;
        case MW_INT8:
            if ((int8_t)sent != (int32_t)sent) return 0;
            break;
        case MW_INT16:
            if ((int16_t)sent != (int32_t)sent) return 0;
            break;
        case MW_UINT8:
            if ((uint8_t)sent != (uint32_t)sent) return 0;
            break;
        case MW_UINT16:
            if ((uint16_t)sent != (uint32_t)sent) return 0;
            break;
        default: break;
    }
    return put(to, &value, mw_dtype_size(dtype));
}

static int put_packed(sink *to, mw_span packed, mw_dtype dtype) {
    if (dtype == MW_BYTES) {
        uint32_t length = (uint32_t)packed.size;
        return to->elements-- > 0 && put(to, &length, sizeof length) && put(to, packed.data, packed.size);
    }
    if (dtype == MW_FP32 || dtype == MW_FP64) {
        uint64_t count = packed.size / mw_dtype_size(dtype), most = to->elements;
        to->elements -= count < most ? count : most;
        return put(to, packed.data, count <= most ? packed.size : (size_t)most * mw_dtype_size(dtype)) && count <= most;
    }
    mw_cursor c = mw_cursor_over(packed);
    while (c.at < c.end) {
        uint64_t sent;
        if (!mw_read_varint(&c, &sent) || !put_integer(to, sent, dtype)) return 0;
    }
    return 1;
}

/* How an element comes when it comes alone; strings have no packed form. */
static unsigned single_wire(mw_dtype dtype) {
    switch (dtype) {
        case MW_FP32: return MW_WIRE_I32;
        case MW_FP64: return MW_WIRE_I64;
        case MW_BYTES: return MW_WIRE_LEN;
        default: return MW_WIRE_VARINT;
    }
}

static int put_single(sink *to, mw_cursor *c, mw_dtype dtype) {
    const uint8_t *value = c->at;
    uint64_t sent;
    if (single_wire(dtype) == MW_WIRE_VARINT) return mw_read_varint(c, &sent) && put_integer(to, sent, dtype);
    return mw_skip_bytes(c, mw_dtype_size(dtype)) && to->elements-- > 0 && put(to, value, mw_dtype_size(dtype));
}

/* The elements that one contents message adds. Other kinds, unknown fields and wrong wire types are passed over exactly
 * as the scan passed over them. */
static int put_contents(sink *to, mw_span contents, mw_dtype dtype) {
    uint32_t kind = (uint32_t)mw_oip_contents_kind(dtype);
    mw_cursor c = mw_cursor_over(contents);
    while (c.at < c.end) {
        uint32_t tag;
        mw_span packed;
        if (!mw_read_tag(&c, &tag)) return 0;
        if (tag == MW_TAG(kind, MW_WIRE_LEN)) {
            if (!mw_read_bytes(&c, &packed) || !put_packed(to, packed, dtype)) return 0;
        } else if (tag == MW_TAG(kind, single_wire(dtype))) {
            if (!put_single(to, &c, dtype)) return 0;
        } else if (!mw_skip(&c, tag, DEPTH_CONTENTS)) {
            return 0;
        }
    }
    return 1;
}

/* 1 where all of the tensor's elements went in. */
static int put_tensor(sink *to, const mw_scan_input *in, mw_dtype dtype) {
    mw_cursor c = mw_cursor_over(in->self);
    if (!mw_oip_contents_kind(dtype)) return 0;
    while (c.at < c.end) {
        uint32_t tag;
        mw_span contents;
        if (!mw_read_tag(&c, &tag)) return 0;
        if (tag == MW_TAG(5, MW_WIRE_LEN)) {
            if (!mw_read_bytes(&c, &contents) || !put_contents(to, contents, dtype)) return 0;
        } else if (!mw_skip(&c, tag, DEPTH_TENSOR)) {
            return 0;
        }
    }
    return 1;
}

int mw_oip_contents(const mw_scan_input *in, mw_dtype dtype, uint8_t *to, size_t size) {
    sink out = {to, to + size, UINT64_MAX};
    return put_tensor(&out, in, dtype) && out.at == out.end ? 0 : -1;
}

size_t mw_oip_contents_start(const mw_scan_input *in, mw_dtype dtype, uint64_t elements, uint8_t *to, size_t size) {
    sink out = {to, to + size, elements};
    put_tensor(&out, in, dtype);
    return (size_t)(out.at - to);
}

/* ---- raw bytes and shapes ---- */

int mw_oip_bytes_valid(mw_span raw, int64_t elements) {
    size_t at = 0;
    for (int64_t i = 0; i < elements; i++) {
        uint32_t length;
        if (raw.size - at < sizeof length) return 0;
        memcpy(&length, raw.data + at, sizeof length);
        at += sizeof length;
        if (raw.size - at < length) return 0;
        at += length;
    }
    return elements >= 0 && at == raw.size;
}

/* 2^59 elements of at most eight bytes are 2^62 bytes. */
int64_t mw_oip_elements(const int64_t *shape, uint32_t rank) {
    const int64_t most = (int64_t)1 << 59;
    int64_t product = 1;
    int empty = 0;
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] < 0) return -1;
        if (shape[i] == 0) empty = 1;
        else if (__builtin_mul_overflow(product, shape[i], &product) || product > most) return -1;
    }
    return empty ? 0 : product;
}
