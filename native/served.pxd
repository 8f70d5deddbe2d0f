# One version of a model, open in ONNX Runtime: its signature, its settings, and where its next run may happen.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from native.exchange cimport Exchange
from native.model cimport Counters, Model
from native.region cimport Region
from native.session cimport mw_lane, mw_run, mw_session

cdef extern from "placement.h" nogil:
    enum:
        MW_INLINE_NS
    ctypedef struct mw_placement:
        int64_t exile
        int strikes
        int banned
        int quadratic
    int64_t mw_placement_predict(const mw_placement *, uint64_t bytes)
    void mw_placement_learn(mw_placement *, uint64_t bytes, int64_t took_ns, int on_loop)
    void mw_placement_strike(mw_placement *)

cdef struct Slot:                 # an exchange's place in a run
    Exchange *exchange            # one reference
    uint32_t attempt              # a mismatch with the exchange's: its result is late

cdef class Served:
    cdef Model model
    cdef Counters counters        # until it is attached to a region
    cdef int64_t limit_tat        # likewise
    cdef Region region            # holds the counters and the limit's cell; None until then
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
    cdef uint64_t run_bytes       # of its inputs
    cdef mw_placement place
    cdef readonly uint64_t terminated  # runs on the loop that the watchdog ended
    cdef readonly uint64_t lane_runs
    cdef readonly uint64_t failures
    cdef readonly str last_failure  # ONNX Runtime's words about the last failed run: for the log
    cdef readonly str name
    cdef readonly str version
    cdef readonly list keep       # Python objects whose memory the model points into

    cdef int attach(self, Region region) except -1

cdef int bucket(int64_t rows) noexcept nogil
