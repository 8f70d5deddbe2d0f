"""The data plane of one process: set up here, driven by `pipeline`."""
import logging

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from modelward_native.access.access cimport Access
from modelward_native.backend.engine cimport engine_of
from modelward_native.backend.pool cimport Pool
from modelward_native.detect.steps cimport step_ring
from modelward_native.detect.suspicion cimport Suspicion
from modelward_native.limits.limit cimport Limiter
from modelward_native.observe.writer cimport begin_observing
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.route cimport Directory
from modelward_native.request.served cimport Served
from modelward_native.request.state cimport State
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport REASON_NO_VERSION
from modelward_native.shadow.mirror cimport pace
from modelward_native.shadow.samples cimport samples_taken
from modelward_native.stages.mirror cimport end_copies
from modelward_native.telemetry.access_log cimport access_taken, begin_access_log
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.timer.deadline cimport Wheel
from modelward_native.wire.tick cimport flush_all, flush_after_timers

log = logging.getLogger("modelward.detect")

cdef enum:
    ORDINARY = 5                  # priority of a request that names none, as Triton's: 1 goes first
    LOWEST = 9


cdef class Server(State):
    """The data plane of one process: a listener, its models, their limits.

    directory: the first that `serve` is
    given. region: what it has in common with other processes; absent: nothing. identities: that detection remembers.
    """

    def __cinit__(self, Wheel wheel, Limiter limiter, Directory directory, region=None, uint64_t identities=1 << 20):
        self.scheduler.wire = &self.listener.wire
        self.listener.wire.server = <PyObject *>self
        wheel.after = flush_after_timers
        wheel.wire = &self.listener.wire
        self.ordinary = ORDINARY
        self.highest, self.lowest = ORDINARY, LOWEST
        self.serve(directory, None)

    def guard(self, Access access not None):
        """From now on every call but those for health must be of an identity that may make it."""
        access.identities.know(self.directory)
        self.access = access
        self.listener.wire.access = <PyObject *>access
        self.listener.wire.keep_credentials = access.forwards

    def serve(self, Directory directory not None, Pool passthrough):
        """What the next message meets, at the rates that the limiter has now; whatever is under way ends as it began.

        passthrough: answers the methods that are not known here; None: they are refused.
        """
        cdef Limiter limiter = self.listener.limiter
        cdef Served served
        for served in directory.served:
            if served.model.policy_count and self.suspicion is None:
                self.watch()
            served.attach(self.region, limiter.shared != NULL, self.suspicion)
        if self.access is not None:
            self.access.identities.know(directory)
            self.listener.wire.keep_credentials = self.access.forwards
        judge_versions(directory)
        directory.suggested = self.directory.suggested
        self.listener.wire.sticky_header = mw_span(
            <const uint8_t *><const char *>directory.sticky_header, len(directory.sticky_header))
        self.directory = directory
        self.passthrough = passthrough
        self.limited = limiter.limiting
        self.listener.wire.keep_metadata = False
        for served in directory.served:
            self.listener.wire.keep_metadata |= served.model.pool != NULL
            self.listener.wire.keep_trace |= served.model.observed != NULL

    cdef int watch(self) except -1:
        """Identities are remembered from now on; without room in the region none is watched."""
        try:
            self.suspicion = Suspicion(self.region, self.identities)
            self.steps = step_ring(self.region)
        except MemoryError as error:
            self.suspicion = None
            log.error("no identity is watched: %s; lower detection.identities, and restart the server", error)
        return 0

    def learn(self, learner):
        """learner: callable(name as bytes, key of a peer) that says whether upstreams are asked for a model that is not served;
        called for each request for one, raises nothing. None: no upstream is asked."""
        self.learner = learner

    @property
    def watchers(self) -> list:
        """Of the versions that gather evidence against identities."""
        cdef Served served
        return [served.watcher for served in self.directory.served if served.watcher is not None]

    def take_unlisted(self) -> bool:
        """Whether a model was asked for that is not served, since the last call."""
        cdef bint unlisted = self.unlisted
        self.unlisted = False
        return unlisted

    def set_priorities(self, uint8_t highest, uint8_t lowest):
        """What requests of identities without a grant of their own may ask for; 1 is the highest."""
        self.highest, self.lowest = highest, lowest

    def start(self, loop, dispatch, methods, streaming=(), client_streaming=()):
        """Joins the running loop. dispatch: coroutine function that answers a modelward_native.wire.call.Call.

        methods: path -> kind of method, as a bit of access.identity.Permit; 0 for those that are open to everybody.
        streaming: paths of those that are answered with a stream; client_streaming: of those whose requests are one.
        """
        self.cold_calls.start(loop, dispatch, methods, streaming, client_streaming)
        self.scheduler.start(loop)
        self.inflater.start(loop)

    def set_probes(self, answers not None):
        """Answers to unary calls that need no coroutine: path -> {message: framed answer}."""
        self.cold_calls.set_probes(answers)

    def stop(self):
        """Cancels cold calls, aborts connections, leaves the loop."""
        self.cold_calls.stop()
        for connection in list(self.listener.connections):
            connection.abort()
            connection.connection_lost(None)    # the loop may tell it when this server is no more
        end_copies(self)
        self.inflater.stop()
        self.scheduler.stop()
        self.listener.wheel.after = NULL

    def warn(self):
        """Clients are told to go elsewhere; what they have sent before they know is still taken."""
        self.listener.wire.draining = True
        for connection in list(self.listener.connections):
            connection.warn()
        flush_all(&self.listener.wire)

    def drain(self):
        """No new streams; what is under way is finished. `busy` tells when that is done."""
        for connection in list(self.listener.connections):
            connection.drain()
        flush_all(&self.listener.wire)

    @property
    def busy(self) -> bool:
        """A request is under way."""
        return self.gauges.inflight > 0 or (self.access is not None and self.access.busy)

    def pace(self, bint busy):
        """Told several times a second whether this process lacked time: then fewer requests are mirrored, or none."""
        pace(&self.mirrors, busy, mw_now_ns())

    @property
    def mirroring(self) -> int:
        """Requests that shadows have and have not answered."""
        cdef const Exchange *y = self.mirrors.first
        cdef int count = 0
        while y != NULL:
            count += 1
            y = y.next_in_stream
        return count

    def take_samples(self) -> list:
        """Pairs that disagreed since the last call, a few: (model, shadow, disagreement, ModelInferRequest, the version's
        ModelInferResponse, the shadow's)."""
        return samples_taken(&self.mirrors.samples)

    def log_access(self, double share):
        """From now on this share of requests is kept for `take_access`, as far as there is room."""
        begin_access_log(&self.access_log, share)
        self.listener.wire.keep_trace = True

    def observe(self, uint64_t ring):
        """From now on requests of versions that are observed go into this process's ring, which has so many bytes."""
        begin_observing(&self.observer, self.region, ring)

    def take_access(self, uint64_t most) -> list:
        """Requests that have ended since the last call, at most so many; the rest waits."""
        return access_taken(&self.access_log, most)

    @property
    def access_dropped(self) -> int:
        """Requests that were to be kept when there was no room."""
        return self.access_log.dropped

    def totals(self) -> dict:
        """This process's gauges."""
        return {
            "inflight": self.gauges.inflight, "connections": self.listener.wire.connections,
            "inflight_bytes": self.gauges.bytes,
        }


cdef int judge_versions(Directory directory) except -1:
    """Of a model with several versions or with shadows, requests are evidence for or against each."""
    cdef Model *m
    cdef uint32_t i, k
    for i in range(directory.count):
        for k in range(directory.entries[i].count):
            m = directory.entries[i].versions[k]
            if m.gate.shut != REASON_NO_VERSION and (directory.entries[i].count > 1 or m.shadow_link_count):
                m.evidence = engine_of(m).collect_evidence()
    return 0
