# The endpoints of a model, and which of them the next request goes to.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef class Endpoint               # its connection refers to it

from modelward_native.backend.breaker cimport Policy, mw_breaker, mw_outcome
from modelward_native.backend.connection cimport UpstreamConnection
from modelward_native.request.caller cimport CALLERS
from modelward_native.request.model cimport Model
from modelward_native.telemetry.histogram cimport Histogram
from modelward_native.telemetry.percentile cimport estimated

cdef enum:
    NOTED_TEXT = 256              # bytes of an upstream's words that are kept for the log

cdef class Endpoint:
    cdef readonly str address
    cdef bytes authority
    cdef bint proven              # its connections show a certificate of ours
    cdef Policy rules             # of its breaker
    cdef UpstreamConnection upstream      # None while not connected
    cdef public object on_ready   # called when a connection has become usable
    cdef public object on_lost    # called when a connection has gone, usable or not
    cdef bint in_order            # by active checks; endpoints start so
    cdef mw_breaker breaker
    cdef float[CALLERS] failing   # share of a caller's requests that it failed lately, by part of the callers
    cdef int64_t[CALLERS] heard   # ns; its last request's outcome
    cdef int64_t suspected        # ns; when its silence was noticed: until its connection has read a byte
    cdef int64_t restored         # ns; when it came back; from then on it starts slowly
    cdef readonly Histogram answers   # ns each
    cdef readonly uint32_t inflight     # streams to it
    cdef uint32_t relays          # of them those that a client's is bound to, for a model
    cdef readonly uint32_t messages     # of those streams, that went to it and hold their permit
    cdef double latency           # ns; exponentially weighted
    cdef int64_t answered         # ns; when latency was last measured
    cdef double p95               # ns; of answers, estimated
    cdef double pause             # ns; p95 of the time in which nothing comes while something is in flight, estimated
    cdef readonly uint64_t requests
    cdef readonly uint64_t failures
    cdef readonly uint64_t ejections
    cdef readonly uint64_t joins    # connections that became usable
    cdef public uint64_t unconnected  # attempts to connect that failed
    cdef public bint untrusted    # the last of them for TLS: its certificate or ours, or the name
    cdef uint64_t noted           # failures whose last one is told below, since they were last asked for
    cdef int noted_status         # gRPC's; -1 where there was none
    cdef char noted_text[NOTED_TEXT]    # as it came, cut; ends in 0
    cdef void note(self, int status, const char *text) noexcept     # a failure, for the log
    cdef readonly uint64_t silences   # times that requests waited on it and nothing came
    cdef readonly uint64_t unanswered  # of them those in which a PING had no answer for a second, or requests were moved
    cdef readonly uint64_t retries    # requests that it failed and another was asked
    cdef readonly uint64_t hedges     # requests that it was slow with and another was asked too
    cdef uint32_t to_answer(self) noexcept          # requests and messages that it has not answered
    cdef bint silent(self) noexcept
    cdef bint available(self) noexcept
    cdef bint take(self, int64_t now) noexcept      # a request goes to it; True: it is the trial of its breaker
    cdef void give_back(self) noexcept              # and is no longer in flight
    # Once for every take. caller: shadow.evidence.part_of, or CALLERS where the outcome has nothing to do with what was sent.
    # pool: borrowed, the Pool that it was chosen from; NULL for none.
    cdef void judge(self, bint trial, uint32_t caller, mw_outcome outcome, PyObject *pool, int64_t now) noexcept
    cdef bint is_to_blame(self, uint32_t caller, bint trial, PyObject *pool, int64_t now) noexcept
    cdef void measure(self, int64_t took, int64_t now) noexcept
    cdef void outlast(self, int64_t took, int64_t now) noexcept
    cdef void paused(self, int64_t span) noexcept
    cdef int64_t patience(self) noexcept

cdef class Pool:
    cdef list endpoints
    cdef uint64_t random
    cdef public bint resends      # also requests that an endpoint may have begun
    cdef double retries           # that may still be made, for all callers together
    cdef float[CALLERS] retries_of    # and for each part of the callers
    cdef float[CALLERS] hedges_of     # hedged requests that may still be made, likewise
    cdef bint decoupled           # answers a stream's message more than once, and does not say which answer is the last
    cdef double answer_ns         # until the next answer to a message of a stream: 95th percentile, estimated; 0: not known
    cdef public double hedge_share    # hedged requests per request; 0: off
    cdef bint untrusted(self) noexcept    # none is connected, and TLS is why
    cdef Endpoint only(self, int64_t now)
    cdef Endpoint choose(self, Endpoint avoid, int64_t now)
    cdef void earn(self, uint32_t caller) noexcept  # a request goes to an endpoint
    cdef bint may_retry(self, uint32_t caller) noexcept
    cdef void spend_retry(self, uint32_t caller) noexcept
    cdef bint served_elsewhere(self, Endpoint failed, uint32_t caller, int64_t since) noexcept


# Of a model of upstreams.
cdef inline Pool pool_of(const Model *m):
    return <Pool>m.pool
