/* One output of an answer: its elements, read in place. */
#ifndef MODELWARD_ANSWER_OUTPUT_H
#define MODELWARD_ANSWER_OUTPUT_H

#include "oip.h"

enum {
    MW_COMPARE_ELEMENTS = 4096,  /* of either side of a pair are read, over all outputs */
    MW_COMPARE_WIRE = 40 * 1024, /* bytes of an answer beside its raw contents, more of which make it unreadable */
    /* Raw form of as many typed elements: at most eight bytes each, or strings with a length before each. */
    MW_COMPARE_TYPED = MW_COMPARE_WIRE + 4 * MW_COMPARE_ELEMENTS,
};

/* Output i of a scanned answer as raw elements, its first `most` where its contents are typed: these are converted into
 * `typed`, which has MW_COMPARE_TYPED bytes. 0 where its contents do not fill its shape. A BYTES tensor's strings are checked
 * where they are read. */
int mw_output_view(const mw_scan *answer, uint32_t i, uint32_t most, uint8_t *typed, mw_view *view);

static inline double mw_larger(double a, double b) { return a > b ? a : b; }

static inline float mw_single(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The bits moved to a float's places, whose exponent is counted from 127 where a half's is from 15. */
static inline float mw_half(uint16_t half) {
    uint32_t size = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    if (size >= 0x7c00u << 13) return mw_single(sign | size | 0x7f800000u);
    return mw_single(sign | 0x3f800000u) * (mw_single(size) * 0x1p112f);
}

/* The floating-point number whose bytes begin there. */
static inline double mw_number_at(const uint8_t *at, mw_dtype dtype) {
    float single;
    double wide;
    uint16_t half;
    switch (dtype) {
        case MW_FP32: memcpy(&single, at, 4); return single;
        case MW_FP64: memcpy(&wide, at, 8); return wide;
        case MW_BF16: memcpy(&half, at, 2); return mw_single((uint32_t)half << 16);
        default: memcpy(&half, at, 2); return mw_half(half);
    }
}

/* Element i of a tensor of floating-point numbers. */
static inline double mw_number(const mw_view *v, uint32_t i) {
    return mw_number_at(v->raw.data + (size_t)i * mw_dtype_size(v->dtype), v->dtype);
}

static inline int mw_is_floating(mw_dtype t) { return t == MW_FP16 || t == MW_BF16 || t == MW_FP32 || t == MW_FP64; }

/* Element i of a tensor of integers or booleans. */
static inline double mw_integer(const mw_view *v, uint32_t i) {
    const uint8_t *at = v->raw.data + (size_t)i * mw_dtype_size(v->dtype);
    int64_t wide;
    int32_t word;
    int16_t half;
    switch (v->dtype) {
        case MW_BOOL: return *at != 0;
        case MW_INT8: return (int8_t)*at;
        case MW_UINT8: return *at;
        case MW_INT16: memcpy(&half, at, 2); return half;
        case MW_UINT16: memcpy(&half, at, 2); return (uint16_t)half;
        case MW_INT32: memcpy(&word, at, 4); return word;
        case MW_UINT32: memcpy(&word, at, 4); return (uint32_t)word;
        case MW_UINT64: memcpy(&wide, at, 8); return (double)(uint64_t)wide;
        default: memcpy(&wide, at, 8); return (double)wide;
    }
}

/* The next length-prefixed string. */
static inline int mw_next_string(mw_span *rest, mw_span *string) {
    uint32_t length;
    if (rest->size < sizeof length) return 0;
    memcpy(&length, rest->data, sizeof length);
    if (rest->size - sizeof length < length) return 0;
    *string = (mw_span){rest->data + sizeof length, length};
    *rest = (mw_span){string->data + length, rest->size - sizeof length - length};
    return 1;
}

/* Column of the largest of a row of the tensor, the first of equal ones; `columns` where one is NaN. */
static inline uint32_t mw_largest(const mw_view *v, uint32_t start, uint32_t columns) {
    uint32_t best = 0;
    double most = mw_number(v, start);
    for (uint32_t i = 1; i < columns; i++) {
        double value = mw_number(v, start + i);
        if (value != value) return columns;
        if (value > most) {
            most = value;
            best = i;
        }
    }
    return most != most ? columns : best;
}

#endif
