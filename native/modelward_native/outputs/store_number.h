/* Numbers written where they lie in a tensor. */
#ifndef MODELWARD_STORE_NUMBER_H
#define MODELWARD_STORE_NUMBER_H

#include "answer_output.h"

static inline uint32_t mw_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The nearest half: the exponent is moved, which rounds what becomes subnormal, and 13 bits are rounded to even. */
static inline uint16_t mw_half_of(float value) {
    uint32_t sign = mw_bits(value) >> 16 & 0x8000, size = mw_bits(value) & 0x7fffffff;
    if (size >= 0x7f800000) return (uint16_t)(sign | (size > 0x7f800000 ? 0x7e00 : 0x7c00));
    if (mw_single(size) >= 65520.0f) return (uint16_t)(sign | 0x7c00);
    size = mw_bits(mw_single(size) * 0x1p-112f);
    return (uint16_t)(sign | (size + 0xfff + (size >> 13 & 1)) >> 13);
}

static inline uint16_t mw_brain_of(float value) {
    uint32_t bits = mw_bits(value);
    if (value != value) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* As the nearest number that the floating-point datatype has. */
static inline void mw_store_number(uint8_t *at, mw_dtype dtype, double value) {
    float single = (float)value;
    uint16_t half;
    switch (dtype) {
        case MW_FP32: memcpy(at, &single, 4); return;
        case MW_FP64: memcpy(at, &value, 8); return;
        default: half = dtype == MW_BF16 ? mw_brain_of(single) : mw_half_of(single); memcpy(at, &half, 2);
    }
}

/* Likewise of integers and booleans: a whole number in the datatype's range stays what it is, and one beyond it becomes its end. */
static inline void mw_store_integer(uint8_t *at, mw_dtype dtype, double value) {
    int is_signed = dtype >= MW_INT8 && dtype <= MW_INT64;
    size_t size = mw_dtype_size(dtype);
    int bits = dtype == MW_BOOL ? 1 : (int)(8 * size) - is_signed;
    double most = __builtin_ldexp(1.0, bits), least = is_signed ? -most : 0;
    uint64_t word; /* its low bytes are the number's: little-endian, as the raw form is */
    if (value < least || value != value) value = least;
    if (value >= most) word = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    else word = value < 0 ? (uint64_t)(int64_t)value : (uint64_t)value;
    memcpy(at, &word, size);
}

#endif
