# Declarations of modelward_native/backend/run.h.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from modelward_native.backend.note cimport mw_note
from modelward_native.backend.session cimport MW_ERROR_TEXT, mw_session
from modelward_native.request.tensor cimport MW_MAX_RANK, mw_span

cdef extern from "run.h" nogil:
    ctypedef struct mw_run_input:
        uint8_t *data
        size_t size
        mw_span *element
        size_t elements
        int64_t shape[MW_MAX_RANK]
    ctypedef struct mw_run_output:
        const uint8_t *data
        size_t size
        const uint8_t *text
        size_t *offset
        size_t elements
        uint32_t rank
        int64_t shape[MW_MAX_RANK]
    ctypedef struct mw_run:
        mw_session *session
        mw_note *note
        mw_run_input *in_ "in"
        mw_run_output *out
        int64_t budget
        int64_t peak
        int over_budget
        int64_t took_ns
        int failed
        char error[MW_ERROR_TEXT]
    int mw_run_init(mw_run *, mw_session *)
    void mw_run_destroy(mw_run *)
    int mw_run_reserve(mw_run *, uint32_t, size_t, size_t)
    void mw_run_execute(mw_run *)
    void mw_run_release(mw_run *)
    void mw_run_terminate(mw_run *, int on)
