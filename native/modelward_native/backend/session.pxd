# Declarations of modelward_native/backend/session.h, but for what only backend.runtime calls.
from libc.stdint cimport int64_t, uint32_t

from modelward_native.request.tensor cimport MW_MAX_RANK, mw_dtype

cdef extern from "session.h" nogil:
    enum:
        MW_ERROR_TEXT
    ctypedef struct mw_declared:
        char *name
        mw_dtype dtype
        int onnx_type
        uint32_t rank
        int64_t shape[MW_MAX_RANK]
    ctypedef struct mw_session:
        uint32_t inputs
        uint32_t outputs
        mw_declared *input
        mw_declared *output
    void mw_session_close(mw_session *)
