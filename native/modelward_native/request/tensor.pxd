# Declarations of modelward_native/request/tensor.h.
from libc.stdint cimport int64_t, uint8_t

cdef extern from "tensor.h" nogil:
    enum:
        MW_MAX_RANK
        MW_MAX_TENSORS
    ctypedef enum mw_dtype:
        MW_INVALID
        MW_BOOL
        MW_UINT8
        MW_UINT16
        MW_UINT32
        MW_UINT64
        MW_INT8
        MW_INT16
        MW_INT32
        MW_INT64
        MW_FP16
        MW_BF16
        MW_FP32
        MW_FP64
        MW_BYTES
        MW_DTYPES
    ctypedef struct mw_span:
        const uint8_t *data
        size_t size
    ctypedef struct mw_view:
        mw_span raw
        int64_t elements
        mw_dtype dtype
    size_t mw_dtype_size(mw_dtype)
    const char *mw_dtype_name(mw_dtype)
    mw_dtype mw_dtype_of(mw_span)
