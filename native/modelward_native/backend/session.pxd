# Declarations of modelward_native/backend/session.h and modelward_native/backend/lane.h.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.request.tensor cimport MW_MAX_RANK, mw_dtype, mw_span

cdef extern from "note.h" nogil:
    enum:
        MW_NOTE_NAME
        MW_NOTE_VERSION
        MW_NOTE_DIGEST
        MW_NOTE_DIMS
        MW_NOTE_CALLERS
    ctypedef struct mw_death:
        uint32_t pool
        int32_t signal
    ctypedef struct mw_note:
        uint32_t used
        uint32_t loading
        char name[MW_NOTE_NAME]
        char version[MW_NOTE_VERSION]
        char digest[MW_NOTE_DIGEST]
        uint32_t dims
        int32_t signal
        uint32_t pool
        uint32_t any_rows
        uint32_t callers
        uint64_t caller[MW_NOTE_CALLERS]
        int64_t dim[MW_NOTE_DIMS]
    void mw_note_deaths(mw_death *death)
    void mw_note_work(mw_note *note)

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
        char *error
    const char *mw_ort_load(const char *path)
    const char *mw_ort_version()
    mw_session *mw_session_open(const void *bytes, size_t size, const char *path, int threads, char *error)
    void mw_session_close(mw_session *)
    int mw_run_init(mw_run *, mw_session *)
    void mw_run_destroy(mw_run *)
    int mw_run_reserve(mw_run *, uint32_t, size_t, size_t)
    void mw_run_execute(mw_run *)
    void mw_run_release(mw_run *)
    void mw_run_terminate(mw_run *, int on)

cdef extern from "clock.h" nogil:
    int64_t mw_now_ns()

cdef extern from "lane.h" nogil:
    ctypedef struct mw_lane:
        pass
    mw_lane *mw_lane_new(int eventfd, bint idle)
    void mw_lane_start(mw_lane *, void (*work)(void *) noexcept nogil, void *argument)
    int mw_lane_take_done(mw_lane *)
    int mw_lane_thread(mw_lane *)
    void mw_lane_free(mw_lane *)
