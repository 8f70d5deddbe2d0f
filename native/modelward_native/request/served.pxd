# One version of a model under one configuration: an engine and the settings that requests meet.
from libc.stdint cimport int64_t, uint32_t

from modelward_native.backend.engine cimport Engine
from modelward_native.detect.suspicion cimport Suspicion
from modelward_native.detect.watch cimport Watcher
from modelward_native.outputs.guards cimport OutputGuards
from modelward_native.request.model cimport Model
from modelward_native.region.region cimport Region

cdef class Served:
    cdef Model model
    cdef readonly Engine engine
    cdef Region region            # where it counts: the blocks of its shadow links are there; None until it is attached
    cdef readonly OutputGuards guards     # None for none
    cdef readonly list fallbacks  # Served of the fallback chain's models
    cdef readonly list shadows    # (modelward_native.shadow.shadow.Shadow, this version's content) of each of its shadow links
    cdef double floor             # of requests with the backend at a time
    cdef double ceiling
    cdef uint32_t queue           # requests that may wait
    cdef bint across              # model.pxd: Gate
    cdef int64_t memory           # Engine.memory, from when it is served
    cdef int64_t limit_tat        # of the limit, until it is attached to a region
    cdef list keep                # Python objects whose memory the model points into
    cdef Suspicion suspicion      # keeps the table that the model points to
    cdef readonly Watcher watcher  # None: no evidence is gathered
    cdef int attach(self, Region region, bint shared, Suspicion suspicion=*) except -1
    cdef int watch(self, Suspicion suspicion) except -1

# ValueError where a tensor of a signature, as (name, datatype, shape), cannot stand for another. what: "input" or "output".
cdef int check_fits(tuple wanted, tuple given, str what) except -1
