/* Datatypes of the Open Inference Protocol and views of tensors: no ownership, no allocation. */
#ifndef MODELWARD_TENSOR_H
#define MODELWARD_TENSOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    MW_MAX_RANK = 16,     /* dimensions of one tensor; ONNX models in the field stay below 8 */
    MW_MAX_TENSORS = 256, /* inputs or requested outputs of one request */
};

typedef enum {
    MW_INVALID = 0,
    MW_BOOL,
    MW_UINT8,
    MW_UINT16,
    MW_UINT32,
    MW_UINT64,
    MW_INT8,
    MW_INT16,
    MW_INT32,
    MW_INT64,
    MW_FP16,
    MW_BF16,
    MW_FP32,
    MW_FP64,
    MW_BYTES,
    MW_DTYPES
} mw_dtype;

/* Bytes that someone else owns. */
typedef struct {
    const uint8_t *data;
    size_t size;
} mw_span;

/* One tensor's elements in the protocol's raw form: row-major, little-endian; BYTES elements are each
 * a 4-byte little-endian length and that many bytes. The data belongs to the request (or a reply) it was found in. */
typedef struct {
    mw_span raw;
    int64_t elements; /* product of the shape, checked against the bytes */
    mw_dtype dtype;
} mw_view;

/* Size of one element in bytes; 0 for BYTES (variable) and MW_INVALID. */
static inline size_t mw_dtype_size(mw_dtype t) {
    static const uint8_t size[MW_DTYPES] = {0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 0};
    return (unsigned)t < MW_DTYPES ? size[t] : 0;
}

static inline const char *mw_dtype_name(mw_dtype t) {
    static const char *const name[MW_DTYPES] = {"INVALID", "BOOL", "UINT8", "UINT16", "UINT32",
                                                "UINT64",  "INT8", "INT16", "INT32",  "INT64",
                                                "FP16",    "BF16", "FP32",  "FP64",   "BYTES"};
    return (unsigned)t < MW_DTYPES ? name[t] : name[0];
}

static inline mw_dtype mw_dtype_of(mw_span s) {
    for (int t = 1; t < MW_DTYPES; t++) {
        const char *name = mw_dtype_name((mw_dtype)t);
        if (strlen(name) == s.size && memcmp(name, s.data, s.size) == 0) return (mw_dtype)t;
    }
    return MW_INVALID;
}

#endif
