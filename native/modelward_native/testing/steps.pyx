"""The ring of steps and the places of held answers as Python objects, for tests."""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from modelward_native.detect.suspicion import CAUSES, SIGNALS, STEPS

from modelward_native.detect.held cimport MW_HELD, MW_HELD_OF_ONE, mw_held, mw_held_give_back, mw_held_take
from modelward_native.detect.steps cimport (
    MW_STEP_EVENTS, MW_STEP_TEXT, mw_step_event, mw_step_ring, mw_steps_done, mw_steps_next, step_ring)
from modelward_native.limits.callers import KINDS
from modelward_native.region.region cimport Region

RING = MW_STEP_EVENTS
HELD = MW_HELD
HELD_OF_ONE = MW_HELD_OF_ONE


cdef class Steps:
    """The ring of one process."""
    cdef mw_step_ring *ring
    cdef Region region

    def __cinit__(self, Region region not None):
        self.region = region
        self.ring = step_ring(region)

    def write(self, uint64_t key, str kind, str name, str model, str before, str after, str cause, evidence, at, float spent=0):
        cdef mw_step_event *e = mw_steps_next(self.ring)
        cdef bytes text
        e.key, e.at, e.traced = key, at, False
        for i in range(len(SIGNALS)):
            e.evidence[<int>i] = evidence[i]
        e.before, e.after, e.cause, e.kind = STEPS.index(before), STEPS.index(after), CAUSES.index(cause), KINDS.index(kind)
        e.spent = spent
        text = name.encode()[:MW_STEP_TEXT]
        e.name_size = len(text)
        memcpy(e.name, <const char *>text, len(text))
        text = model.encode()[:MW_STEP_TEXT]
        e.model_size = len(text)
        memcpy(e.model, <const char *>text, len(text))
        mw_steps_done(self.ring, e)


cdef class Held:
    cdef mw_held held

    def take(self, uint64_t identity):
        """A place; None where there is none."""
        cdef uint64_t *place = mw_held_take(&self.held, identity)
        return None if place == NULL else <object><size_t>place

    def give_back(self, size_t place):
        mw_held_give_back(<uint64_t *>place)
