# What the rooms of one server share.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from native.access cimport Access
from native.batch cimport Scheduler
from native.callers cimport Callers
from native.crosscheck cimport Checks
from native.events cimport Events
from native.exchange cimport Exchange, Stream
from native.h2 cimport Listener
from native.inflater cimport Inflater
from native.mirror cimport Mirrors
from native.model cimport Counters, Gate
from native.region cimport Gauges, Region
from native.route cimport Directory

cdef struct Upstreams:            # native.upstream and native.relay, which stand above outcome and are called by it
    bint (*forward)(void *server, Exchange *, void *pool, int64_t now) noexcept   # False: no endpoint
    void (*cancel)(Exchange *) noexcept
    int (*relay)(Exchange *, int64_t now) noexcept   # a stream's message, with its permit; REASON_NONE, or why not
    void (*half_close)(Stream *) noexcept   # the client of a relayed stream sends no more

cdef class State:
    cdef Upstreams upstreams
    cdef readonly Listener listener
    cdef readonly Scheduler scheduler
    cdef readonly Inflater inflater
    cdef Callers callers
    cdef readonly Directory directory
    cdef readonly Events events
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
    cdef bint limited             # any peer, identity or total rate is set
    cdef uint64_t sample          # counts messages; every SAMPLE-th has its stages timed
