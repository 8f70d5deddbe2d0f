# The endpoints of a model, and which of them the next request goes to.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef class Endpoint               # its connection refers to it

from modelward_native.backend.breaker cimport Policy, mw_breaker, mw_breaker_result
from modelward_native.backend.connection cimport UpstreamConnection
from modelward_native.request.caller cimport CALLERS
from modelward_native.request.model cimport Model
from modelward_native.telemetry.histogram cimport Histogram
from modelward_native.telemetry.percentile cimport estimated

cdef enum:
    NOTED_TEXT = 256              # bytes of an upstream's error text that are kept for the log

cdef class Endpoint:
    cdef readonly str address
    cdef bytes authority
    cdef bint proven              # its connections show a certificate of ours
    cdef Policy rules             # of its breaker
    cdef UpstreamConnection upstream      # None while not connected
    cdef public object on_ready   # called when a connection has become usable
    cdef public object on_lost    # called when a connection has gone, usable or not
    cdef bint passes_checks       # the active ones; True at first
    cdef public bint has_canary   # the server of each connection passes a canary before it gets requests
    cdef public bint passes_canary      # True at first; without it no request is sent, in a panic neither
    cdef public bint fails_canary       # it was asked, and answered otherwise
    cdef public object on_joined  # called when a connection has become usable whose server has to pass the canary
    cdef mw_breaker breaker
    cdef float[CALLERS] failing   # share of a caller's requests that failed lately, by part of the callers
    cdef int64_t[CALLERS] last_result   # ns; when the caller's last request ended
    cdef int64_t silent_since     # ns; when its silence was noticed; over once its connection has read a byte
    cdef int64_t restored         # ns; when it came back; after that its load grows slowly
    cdef readonly Histogram answers   # ns each
    cdef readonly uint32_t inflight     # streams to it
    cdef uint32_t relays          # of them those bound to a client's stream, for a model
    cdef readonly uint32_t messages     # sent on those streams, that hold their permit
    cdef double latency           # ns; exponentially weighted
    cdef int64_t answered         # ns; when latency was last measured
    cdef double p95               # ns; of answers, estimated
    cdef double pause             # ns; p95 of the time without a byte while requests are in flight, estimated
    cdef readonly uint64_t requests
    cdef readonly uint64_t failures
    cdef readonly uint64_t ejections
    cdef readonly uint64_t joins    # connections that became usable
    cdef public uint64_t unconnected  # attempts to connect that failed
    cdef public bint untrusted    # TLS was why the last of them failed: its certificate or ours, or the name
    cdef uint64_t noted           # failures since the last take_failures; the last of them:
    cdef int noted_status         # its gRPC status; -1: none
    cdef char noted_text[NOTED_TEXT]    # its text as it came, cut; ends in 0
    cdef void note(self, int status, const char *text) noexcept     # a failure, for the log
    cdef readonly uint64_t silences   # times that it fell silent while requests waited
    cdef readonly uint64_t unanswered  # of them those where a PING had no answer for a second, or requests were moved
    cdef readonly uint64_t retries    # requests that failed here and went to another
    cdef readonly uint64_t hedges     # requests that were slow here and went to another too
    cdef uint32_t to_answer(self) noexcept          # requests and messages that it has not answered
    cdef bint silent(self) noexcept
    cdef bint available(self) noexcept
    cdef bint take(self, int64_t now) noexcept      # a request goes to it; True: as the trial of its breaker
    cdef void give_back(self) noexcept              # and is no longer in flight
    # Once for every take. caller: request.caller.part_of, or CALLERS where no caller caused the result.
    # pool: borrowed, the Pool that chose the endpoint; NULL for none.
    cdef void judge(self, bint trial, uint32_t caller, mw_breaker_result result, PyObject *pool, int64_t now) noexcept
    cdef bint is_to_blame(self, uint32_t caller, bint trial, PyObject *pool, int64_t now) noexcept
    cdef void measure(self, int64_t took, int64_t now) noexcept
    cdef void measure_at_least(self, int64_t took, int64_t now) noexcept
    cdef void measure_pause(self, int64_t span) noexcept
    cdef int64_t silence_limit(self) noexcept

cdef class Overridden:            # the endpoints that the requests of one model may go to, where operators have decided
    cdef list endpoints           # without those that are held open
    cdef Py_ssize_t closed        # so many of them, the first ones, are held closed

cdef class Pool:
    cdef list endpoints
    cdef dict overrides           # Overridden by name of the model; empty for most pools
    cdef uint64_t random
    cdef public bint resends      # also requests that an endpoint may have begun
    cdef double retries           # that may still be made, for all callers together
    cdef float[CALLERS] retries_of    # and for each part of the callers
    cdef float[CALLERS] hedges_of     # hedged requests that may still be made, likewise
    cdef bint decoupled           # may answer a stream's message more than once, without marking the last answer
    cdef double answer_ns         # until the next answer to a message of a stream: 95th percentile, estimated; 0: not known
    cdef public double hedge_share    # hedged requests per request; 0: off
    cdef bint untrusted(self) noexcept    # no endpoint is connected, and TLS is why
    cdef Overridden overridden_for(self, const Model *m)     # None where no operator has decided, or without a model
    # Whether operators keep the model's requests from this endpoint; None: from all.
    cdef bint holds_open(self, Endpoint endpoint, const Model *m) noexcept
    cdef Endpoint choose(self, Endpoint avoid, const Model *m, int64_t now)     # m: whose request it is; NULL for none
    cdef void add_budget(self, uint32_t caller) noexcept  # for retries and hedges: a request goes to an endpoint
    cdef bint may_retry(self, uint32_t caller) noexcept
    cdef void spend_retry(self, uint32_t caller) noexcept
    cdef bint others_serve(self, Endpoint failed, uint32_t caller, int64_t since) noexcept


cdef inline Pool pool_of(const PyObject *pool):
    """Of a model of upstreams, a call or a relay."""
    return <Pool>pool
