# Steps that identities took: noted where they happen, read by the supervisor.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from modelward_native.detect.suspicion cimport MW_SIGNALS, mw_step, mw_suspect
from modelward_native.region.region cimport Region
from modelward_native.request.exchange cimport Exchange

cdef extern from "steps.h" nogil:
    enum:
        MW_STEP_EVENTS
        MW_STEP_TEXT
        MW_CAUSE_BUDGET
        MW_STEP_CAUSES

    ctypedef struct mw_step_event:
        uint64_t number
        uint64_t key
        int64_t at
        float evidence[MW_SIGNALS]
        float spent
        uint8_t before
        uint8_t after
        uint8_t cause
        uint8_t kind
        uint8_t traced
        uint8_t name_size
        uint8_t model_size
        uint8_t trace[16]
        char name[MW_STEP_TEXT]
        char model[MW_STEP_TEXT]

    ctypedef struct mw_step_ring:
        uint64_t written

    mw_step_event *mw_steps_next(mw_step_ring *)
    void mw_steps_done(mw_step_ring *, mw_step_event *)
    bint mw_steps_read(const mw_step_ring *, uint64_t place, mw_step_event *out)

# This process's ring in the region.
cdef mw_step_ring *step_ring(Region region) except NULL
# The identity that sent x has come from one step to another. Also counted, under the model that x asked. cause: an mw_signal, or
# MW_CAUSE_BUDGET.
cdef void note_step(mw_step_ring *ring, const Exchange *x, const mw_suspect *s, mw_step before, mw_step after, int cause,
                    int64_t now) noexcept
