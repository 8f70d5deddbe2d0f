# What runs one version of a model: its session, its queue, and where its next run may happen. One configuration after
# another may use it.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.shadow.evidence cimport Evidence
from modelward_native.request.exchange cimport Exchange
from modelward_native.limits.limit cimport mw_costs
from modelward_native.request.model cimport Counters, Empties, Gate, Model, Tensor
from modelward_native.request.answer cimport mw_answers
from modelward_native.region.region cimport Region
from modelward_native.backend.note cimport mw_note
from modelward_native.backend.run cimport mw_run
from modelward_native.backend.session cimport mw_session
from modelward_native.backend.worker_thread cimport mw_worker_thread
from modelward_native.request.tensor cimport mw_span

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

cdef struct Slot:                 # an exchange in a run
    Exchange *exchange            # one reference
    uint32_t attempt              # a mismatch with the exchange's: its result is late

cdef struct Contained:            # requests that an engine does not run, since a process died of their like
    bint of_caller                # only those of one caller
    bint of_shape                 # only those with certain dimensions
    uint64_t caller               # its budget

cdef class Engine:
    cdef readonly str name
    cdef readonly str version
    cdef Counters uncounted       # until it is attached to a region
    cdef Counters *counters       # the region's then
    cdef Evidence *evidence       # the region's; NULL until it is asked for, or without room
    cdef Region region            # holds them; None until then
    cdef readonly object pool     # backend.pool.Pool that answers in place of a session; None for an embedded model
    cdef mw_span name_span
    cdef mw_span version_span
    cdef Tensor *input            # owned
    cdef Tensor *output           # owned
    cdef uint32_t input_count
    cdef uint32_t output_count
    cdef readonly bint has_batch_axis   # the first dimension of every input and output is dynamic
    cdef readonly bint batchable  # rows of different requests may share a run
    cdef public str digest        # SHA-256 of its file, in hexadecimal; "" where that is not known
    cdef readonly bint contained_wholly  # it is not run at all any more: processes died of several inputs
    cdef readonly bint runs_alone  # requests do not share runs: a process died of one that callers shared
    cdef Contained *contained     # owned: what it is not run with
    cdef int64_t *contained_dim   # owned: dimensions of their inputs, contained_dims for each of them
    cdef uint32_t contained_count
    cdef uint32_t contained_dims
    cdef Empties empties          # any for upstreams; none for a session until `bear`
    cdef int64_t max_rows         # of one run; a single request with more runs alone
    cdef Gate gate
    cdef Exchange *first          # the queue; each holds one reference
    cdef Exchange *last
    cdef readonly uint32_t queue_length
    cdef mw_session *session      # owned; NULL where there is a pool, or after close
    cdef mw_note *note            # the region's; of `run`; NULL without
    cdef mw_run run               # owned; lent to the worker thread while running
    cdef mw_worker_thread *thread  # owned; NULL until a run was too long for the loop
    cdef Slot *slots              # owned; the exchanges of the run in flight
    cdef uint32_t slot_count
    cdef uint32_t slot_capacity
    cdef uint32_t live            # slots whose exchange still waits for the result
    cdef int64_t run_rows
    cdef int64_t memory           # bytes that a run may hold at once beside its inputs
    cdef int64_t row_memory       # twice what a run of one row was found to hold
    cdef readonly bint running    # in the worker thread
    cdef uint32_t side_runs       # SideRuns of it
    cdef bint pending             # in scheduler.pending
    cdef uint64_t run_bytes       # of its inputs
    cdef uint64_t answer_bytes    # of the last run_once
    cdef readonly bint background  # it runs in the worker thread alone, on cores that no other thread wants
    cdef mw_placement placement
    cdef mw_costs costs           # of its requests, as they were lately
    cdef mw_answers answers       # likewise
    cdef readonly uint64_t terminated  # runs on the loop that the watchdog ended
    cdef readonly uint64_t thread_runs
    cdef readonly uint64_t failures
    cdef readonly str last_failure  # ONNX Runtime's words about the last failed run: for the log
    cdef list keep                # bytes that spans point into
    cdef void end(self) noexcept
    cdef int attach(self, Region region) except -1
    cdef void release_evidence(self) noexcept
    cdef Evidence *collect_evidence(self) except? NULL     # once attached
    cdef void admit(self, double floor, double ceiling, uint32_t queue, bint across) noexcept

cdef inline Engine engine_of(const Model *m):
    return <Engine>m.engine
