# What the stages of one server share.
from libc.stdint cimport uint8_t, uint64_t

cdef class State

from modelward_native.access.access cimport Access
from modelward_native.backend.batch cimport Scheduler
from modelward_native.detect.held cimport mw_held
from modelward_native.detect.steps cimport mw_step_ring
from modelward_native.detect.suspicion cimport Suspicion
from modelward_native.limits.callers cimport Callers
from modelward_native.shadow.crosscheck cimport Checks
from modelward_native.observe.writer cimport Observer
from modelward_native.score.events cimport Events
from modelward_native.telemetry.access_log cimport AccessLog
from modelward_native.backend.pool cimport Pool
from modelward_native.request.cold_calls cimport ColdCalls
from modelward_native.wire.listener cimport Listener
from modelward_native.wire.types cimport Wire
from modelward_native.request.oip cimport mw_scan
from modelward_native.wire.inflater cimport Inflater
from modelward_native.shadow.mirror cimport Mirrors
from modelward_native.request.model cimport Counters, Gate
from modelward_native.region.region cimport Gauges, Region
from modelward_native.request.route cimport Directory

cdef class State:
    cdef readonly Listener listener
    cdef readonly Scheduler scheduler
    cdef readonly Inflater inflater
    cdef Callers callers
    cdef ColdCalls cold_calls
    cdef readonly Pool passthrough    # answers the methods that are not known here; None: they are refused
    cdef readonly Directory directory
    cdef mw_scan *scanned         # owned; the message that is being decoded: 90 KB, overwritten by the next one's
    cdef readonly Events events
    cdef Suspicion suspicion      # who is how suspicious; None before a model watches identities
    cdef uint64_t identities      # that it remembers
    cdef mw_step_ring *steps      # the region's, this process's; NULL before a model watches identities
    cdef mw_held held             # answers of restricted callers that are held back
    cdef uint64_t random          # state of what clients must not guess: not 0
    cdef AccessLog access_log
    cdef Observer observer
    cdef readonly Access access   # None: everybody may do everything
    cdef Region region
    cdef Counters *other          # the region's: requests that no served model can be charged with
    cdef Gauges *gauges           # the region's
    cdef Mirrors mirrors
    cdef Checks checks
    cdef Gate *ready             # of backends with a place that somebody may wait for
    cdef bint unlisted            # a model was asked for that is not served
    cdef object learner           # callable(name, peer): whether an upstream is asked for a model that is not served; None
    cdef uint8_t highest          # priority that requests of an identity without a grant of its own may ask for; 1 goes first
    cdef uint8_t lowest
    cdef uint8_t ordinary         # of requests that ask for none
    cdef bint limited             # any peer, identity or total rate is set
    cdef uint64_t sample          # counts messages; every SAMPLE-th has its stages timed


cdef inline State server_of(const Wire *wire):
    """The server that a listener's connections belong to."""
    return <State>wire.server
