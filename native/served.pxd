# One version of a model, open in ONNX Runtime: its signature, its settings, and where its next run may happen.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from native.exchange cimport Exchange
from native.model cimport BATCH_BUCKETS, Model
from native.session cimport mw_lane, mw_run, mw_session

cdef enum:
    INLINE_NS = 250000            # a run this short may hold the loop: what reading one full socket buffer costs

cdef struct Slot:                 # an exchange's place in a run
    Exchange *exchange            # one reference
    uint32_t attempt              # a mismatch with the exchange's: its result is late

cdef class Served:
    cdef Model model
    cdef mw_session *session      # owned
    cdef mw_run run               # owned; lent to the lane while running
    cdef mw_lane *lane            # owned; NULL until a run was too long for the loop
    cdef Slot *slots              # owned; the exchanges of the run under way
    cdef uint32_t slot_count
    cdef uint32_t slot_capacity
    cdef uint32_t live            # slots whose exchange still waits for the result
    cdef int64_t run_rows
    cdef readonly bint running    # in the lane
    cdef bint pending             # in scheduler.pending
    cdef int64_t estimate[BATCH_BUCKETS]   # ns; decaying worst run by powers of two of rows
    cdef int64_t exile            # runs that must stay short in the lane before the loop has this model back
    cdef int strikes
    cdef uint64_t well_behaved    # runs on the loop since the last strike was forgiven
    cdef readonly uint64_t lane_runs
    cdef readonly uint64_t failures
    cdef readonly str last_failure  # ONNX Runtime's words about the last failed run: for the log
    cdef readonly str name
    cdef readonly str version
    cdef readonly list keep       # Python objects whose memory the model points into
    cdef int64_t predict(self, int64_t rows) noexcept
    cdef void learn(self, int64_t rows, int64_t took, bint on_loop) noexcept

cdef int bucket(int64_t rows) noexcept nogil
