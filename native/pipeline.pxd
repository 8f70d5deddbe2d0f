# The order of the rooms, and the server that they belong to.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from native.batch cimport Scheduler
from native.exchange cimport Exchange, Stream
from native.h2 cimport Listener
from native.model cimport Counters, Model
from native.score cimport mw_score
from native.tensor cimport mw_span
from native.verdict cimport Verdict

cdef struct Entry:                # a model's name and its versions
    mw_span name                  # borrowed from the first version
    Model **versions              # owned array, ascending; the last answers where no version is asked for
    uint32_t count

cdef struct Event:                # an anomalous request, kept for whoever logs it
    Model *model
    int64_t at                    # monotonic ns
    double score
    double p_value
    uint32_t flags
    int64_t row                   # of the request
    int32_t feature[3]
    float deviation[3]
    char id[64]                   # the request's, cut

cdef enum:
    EVENTS = 256                  # ring: what nobody fetched in time is counted and overwritten

cdef class Server:
    cdef readonly Listener listener
    cdef readonly Scheduler scheduler
    cdef Entry *entries           # owned; sorted by name
    cdef uint32_t entry_count
    cdef list served              # Served objects that the entries point into
    cdef Counters other           # requests that no served model can be charged with
    cdef bint limited             # any peer, identity or total rate is set
    cdef object dispatch          # coroutine function of cold calls
    cdef object methods           # set of their paths
    cdef set tasks
    cdef uint64_t sample          # counts messages; every 64th has its stages timed
    cdef Event ring[EVENTS]
    cdef uint64_t event_count
    cdef uint64_t events_read
    cdef uint64_t inflight
    cdef int64_t suggested        # when near names were last searched
    cdef object loop
    cdef Entry *find(self, mw_span name) noexcept
    cdef void unknown_model(self, mw_span name, Verdict *v) noexcept
    cdef void unknown_version(self, Entry *entry, mw_span version, Verdict *v) noexcept
    cdef void begin_cold(self, Stream *s) noexcept
    cdef void note(self, Model *m, Exchange *x, const mw_score *score, int64_t row, int64_t now) noexcept
