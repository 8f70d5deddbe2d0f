# What the processes of one server have counted, read from their region.
from modelward_native.telemetry.histogram cimport mw_histogram
from modelward_native.request.model cimport Counters
from modelward_native.region.region cimport Region

# This process's counters of a version of a model; no name: those that no served model is charged with, which is also
# where one is counted for whose name the region has no room. They are the caller's until `served` is one less again.
cdef Counters *counters_of(Region region, bytes model, bytes version) except NULL
# Over all slots; own: this process's.
cdef Counters summed(Region region, const Counters *own)
cdef dict stats_of(const Counters *c)
# (bounds in ns, cumulative counts with all of them last, sum in ns)
cdef tuple folded(const mw_histogram *h)
