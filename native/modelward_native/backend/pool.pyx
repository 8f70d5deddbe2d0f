"""The endpoints of a model, and which of them the next request goes to."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, strlen

import os

from modelward_native.backend.breaker cimport (
    MW_BREAKER_FAILURE, MW_BREAKER_IGNORED, MW_BREAKER_OPEN, Policy, mw_breaker_begin, mw_breaker_due,
    mw_breaker_end, mw_breaker_recount, mw_breaker_result, mw_breaker_state_at)
from modelward_native.backend.engine cimport engine_of
from modelward_native.backend.random cimport next_random
from modelward_native.request.caller cimport CALLERS
from modelward_native.telemetry.histogram cimport Histogram, mw_histogram_record_ns
from modelward_native.timer.clock cimport mw_now_ns

from modelward_native.backend.breaker import STATES

cdef int64_t SECOND = 1000000000
cdef int64_t SLOW_START = 10 * SECOND
cdef double SLOWEST = 10.0        # times the cost of an endpoint that has just come back
cdef double MEMORY = 1e9          # ns; a latency this old counts half
cdef double BUDGET_SHARE = 0.2    # retries per request
cdef double BUDGET_FLOOR = 10.0   # of each caller at first
cdef double BUDGET_CALLER = 100.0  # of one caller, at most
cdef double BUDGET_ALL = 200.0    # of all callers together
cdef double SILENCE = 4.0         # times its usual pause: after that much silence an endpoint gets a PING
cdef double SILENCE_SHORTEST = 1e7   # ns; on a busy machine every endpoint is silent for that long
cdef double SILENCE_LONGEST = 1e9
cdef float FAILING_STEP = 0.3     # weight of one result in the share of a caller's requests that fail
cdef float FAILING_SHARE = 0.125  # if fewer of the other callers' requests fail, a failure is due to its caller
cdef int64_t LATELY = 5 * SECOND  # ns; results of other callers count for this long
cdef int64_t LATELY_TRIED = 60 * SECOND   # the same while the breaker lets through one request at a time


cdef class Endpoint:
    """One address of a pool. Its endpoint manager (modelward.upstream) keeps it connected.

    proven: its connections show a certificate of ours.
    """

    def __cinit__(self, str address, str authority, Policy policy=None, bint proven=False):
        self.address = address
        self.authority = authority.encode()
        self.proven = proven
        self.rules = Policy() if policy is None else policy
        self.passes_checks = self.passes_canary = True
        self.answers = Histogram()

    @property
    def connected(self) -> bool:
        return self.upstream is not None

    @property
    def policy(self) -> Policy:
        """Of its breaker. A new policy begins with an empty window; an ejection that has begun keeps its length."""
        return self.rules

    @policy.setter
    def policy(self, Policy policy not None):
        self.rules = policy
        mw_breaker_recount(&self.breaker)

    @property
    def healthy(self) -> bool:
        """Whether it passes the active checks; True until one fails. An endpoint that recovers gets its load slowly."""
        return self.passes_checks

    @healthy.setter
    def healthy(self, bint healthy):
        if healthy and not self.passes_checks:
            self.restored = mw_now_ns()
        self.passes_checks = healthy

    @property
    def state(self) -> str:
        """One of modelward_native.backend.breaker.STATES. A silent endpoint counts as open."""
        return STATES[<int>(MW_BREAKER_OPEN if self.silent() else mw_breaker_state_at(&self.breaker, mw_now_ns()))]

    @property
    def breaker_state(self) -> str:
        """The state of its breaker alone."""
        return STATES[<int>mw_breaker_state_at(&self.breaker, mw_now_ns())]

    @property
    def usable(self) -> bool:
        """Whether requests are sent to it unless all endpoints are out."""
        return self.available()

    def take_failures(self):
        """(number, gRPC status of the last or -1, its text as it came) of the failures since the last call, or None."""
        if self.noted == 0:
            return None
        found = self.noted, self.noted_status, self.noted_text.decode("utf-8", "replace")
        self.noted = 0
        return found

    cdef void note(self, int status, const char *text) noexcept:
        cdef size_t size = min(strlen(text), <size_t>NOTED_TEXT - 1)
        self.noted += 1
        self.noted_status = status
        memcpy(self.noted_text, text, size)
        self.noted_text[size] = 0

    cdef uint32_t to_answer(self) noexcept:
        return self.inflight - self.relays + self.messages

    cdef bint silent(self) noexcept:
        """Whether its silence was noticed while requests waited, and it has sent no byte since."""
        return self.upstream is not None and self.upstream.transport.active < self.silent_since

    cdef bint available(self) noexcept:
        return (self.upstream is not None and self.passes_checks and self.passes_canary and not self.breaker.open
                and not self.silent())

    cdef bint take(self, int64_t now) noexcept:
        self.inflight += 1
        self.requests += 1
        return mw_breaker_begin(&self.breaker, now)

    cdef void give_back(self) noexcept:
        self.inflight -= 1

    cdef void judge(self, bint trial, uint32_t caller, mw_breaker_result result, PyObject *pool, int64_t now) noexcept:
        """Passive health: the result of a request may open the breaker or close it."""
        cdef bint was_open = self.breaker.open
        self.failures += result == MW_BREAKER_FAILURE
        if result != MW_BREAKER_IGNORED and caller < CALLERS:
            self.failing[caller] += (<float>(result == MW_BREAKER_FAILURE) - self.failing[caller]) * FAILING_STEP
            self.last_result[caller] = now
        if result == MW_BREAKER_FAILURE and caller < CALLERS and not self.is_to_blame(caller, trial, pool, now):
            result = MW_BREAKER_IGNORED
        if mw_breaker_end(&self.breaker, &self.rules.policy, trial, result, now):
            self.ejections += 1
        elif was_open and not self.breaker.open:
            self.restored = now

    cdef bint is_to_blame(self, uint32_t caller, bint trial, PyObject *pool, int64_t now) noexcept:
        """Whether the endpoint is the cause of a failure. False while it serves the other callers well: no client can have it
        ejected for all by what it sends, or keep it out by failing every trial. False too while all other endpoints fail the
        same caller: if all were broken, requests would go to all of them anyway.
        """
        cdef int64_t since = now - (LATELY_TRIED if trial else LATELY)
        cdef float failing = 0
        cdef int others = 0, i
        for i in range(CALLERS):
            if <uint32_t>i != caller and self.last_result[i] and self.last_result[i] >= since:
                failing += self.failing[i]
                others += 1
        if others and failing < others * FAILING_SHARE:
            return False
        return pool == NULL or pool_of(pool).others_serve(self, caller, since)

    cdef void measure(self, int64_t took, int64_t now) noexcept:
        """Learns the latency of an answer."""
        self.answered = now
        self.latency += (took - self.latency) * 0.1 if self.latency else took
        mw_histogram_record_ns(&self.answers.histogram, took)
        self.p95 = estimated(self.p95, took)

    cdef void measure_at_least(self, int64_t took, int64_t now) noexcept:
        """Learns from a request that ended without its answer after `took` ns: the latency is at least that."""
        if took > self.latency:
            self.answered = now
            self.latency += (took - self.latency) * 0.1

    cdef void measure_pause(self, int64_t span) noexcept:
        """Learns a pause: requests were in flight, and no byte came for `span` ns."""
        self.pause = estimated(self.pause, span)

    cdef int64_t silence_limit(self) noexcept:
        """ns without a byte, while requests wait, after which the endpoint is sent a PING and gets no requests until it sends."""
        if self.pause == 0:
            return <int64_t>SILENCE_LONGEST
        return <int64_t>min(max(SILENCE * self.pause, SILENCE_SHORTEST), SILENCE_LONGEST)


cdef class Pool:
    """The endpoints of models. Picks by the power of two choices (Mitzenmacher 2001) on requests in flight times latency.

    hedge_share: hedged requests allowed per request; 0: none. resends: whether a request goes to a second endpoint when the
    first has died or fallen silent and may have begun to work on it.
    """

    def __cinit__(self, list endpoints, double hedge_share=0, bint resends=False):
        cdef int i
        self.endpoints = endpoints
        self.overrides = {}
        self.hedge_share = hedge_share
        self.resends = resends
        self.random = int.from_bytes(os.urandom(8), "little") | 1
        self.retries = BUDGET_ALL
        for i in range(CALLERS):
            self.retries_of[i] = BUDGET_FLOOR

    def replace(self, list endpoints):
        """Requests go to these endpoints from now on. Requests in flight end at the endpoint that they were sent to."""
        self.endpoints = list(endpoints)

    def override(self, dict models):
        """What operators have decided, in place of all that they had before. models: by name (endpoints that are held closed,
        endpoints without an override). Requests of the model go to no others, and to the closed ones whatever breaker, active
        checks and silence say; a canary and a lost connection still keep requests from them.
        """
        cdef Overridden overridden
        cdef dict overrides = {}
        for name, (closed, others) in models.items():
            overridden = Overridden.__new__(Overridden)
            overridden.endpoints = [*closed, *others]
            overridden.closed = len(closed)
            overrides[name] = overridden
        self.overrides = overrides

    def in_panic(self, str model) -> bool:
        """Whether requests of the model also go to connected endpoints that are not available, because too few are available."""
        cdef Overridden overridden = self.overrides.get(model)
        cdef list endpoints = self.endpoints if overridden is None else overridden.endpoints
        cdef Py_ssize_t closed = 0 if overridden is None else overridden.closed, i
        cdef Endpoint e
        cdef uint32_t usable = 0, responsive = 0, connected = 0
        for i, e in enumerate(endpoints):
            if e.upstream is not None and e.passes_canary:
                connected += 1
                usable += i < closed or e.available()
                responsive += i < closed or not e.silent()
        return is_panic(usable, responsive, connected)

    def reaches(self, str model) -> bool:
        """Whether any endpoint is connected that passes its canary and that operators do not hold open for the model."""
        cdef Overridden overridden = self.overrides.get(model)
        cdef Endpoint e
        for e in self.endpoints if overridden is None else overridden.endpoints:
            if e.upstream is not None and e.passes_canary:
                return True
        return False

    cdef Overridden overridden_for(self, const Model *m):
        if m == NULL or not self.overrides:
            return None
        return <Overridden>self.overrides.get(engine_of(m).name)

    cdef bint holds_open(self, Endpoint endpoint, const Model *m) noexcept:
        cdef Overridden overridden = self.overridden_for(m)
        if overridden is None:
            return False
        return not overridden.endpoints if endpoint is None else endpoint not in overridden.endpoints

    cdef void add_budget(self, uint32_t caller) noexcept:
        self.retries = min(self.retries + BUDGET_SHARE, BUDGET_ALL)
        self.retries_of[caller] = min(self.retries_of[caller] + BUDGET_SHARE, BUDGET_CALLER)
        self.hedges_of[caller] = min(self.hedges_of[caller] + self.hedge_share, BUDGET_FLOOR)

    cdef bint may_retry(self, uint32_t caller) noexcept:
        """Whether the caller has budget for a retry. Its own requests add to it: a caller whose requests all fail uses up no
        other caller's retries."""
        return self.retries >= 1 and self.retries_of[caller] >= 1

    cdef void spend_retry(self, uint32_t caller) noexcept:
        self.retries -= 1
        self.retries_of[caller] -= 1

    cdef bint others_serve(self, Endpoint failed, uint32_t caller, int64_t since) noexcept:
        """Whether another endpoint fails the caller less than half as often as this one. True too where no other endpoint has
        served the caller lately."""
        cdef Endpoint e
        cdef bint compared = False
        for e in self.endpoints:
            if e is failed or e.last_result[caller] == 0 or e.last_result[caller] < since:
                continue
            compared = True
            if 2 * e.failing[caller] < failed.failing[caller]:
                return True
        return not compared

    cdef bint untrusted(self) noexcept:
        cdef Endpoint e
        cdef bint found = False
        for e in self.endpoints:
            if e.upstream is not None:
                return False
            found |= e.untrusted
        return found

    cdef Endpoint choose(self, Endpoint avoid, const Model *m, int64_t now):
        cdef Endpoint e, first = None, second = None
        cdef uint32_t n = 0, usable = 0, responsive = 0, connected = 0, pick
        cdef Overridden overridden = self.overridden_for(m)
        cdef list endpoints = self.endpoints if overridden is None else overridden.endpoints
        cdef Py_ssize_t closed = 0 if overridden is None else overridden.closed, i
        cdef bint panic
        if len(endpoints) == 1:
            return only(endpoints[0], now)
        for i, e in enumerate(endpoints):
            if e.upstream is None or not e.passes_canary or e is avoid:
                continue
            connected += 1
            usable += i < closed or e.available()
            if i >= closed and e.silent():
                continue
            responsive += 1
            # for a first send only: a request that is sent again has failed once already
            if avoid is None and e.passes_checks and mw_breaker_due(&e.breaker, now):
                return e
        panic = is_panic(usable, responsive, connected)
        for i, e in enumerate(endpoints):
            if e.upstream is None or not e.passes_canary or e is avoid or e.inflight >= e.rules.max_inflight:
                continue
            if i >= closed and not ((not responsive or not e.silent()) if panic else e.available()):
                continue
            n += 1
            # reservoir of two: every pair is equally likely
            next_random(&self.random)
            if n == 1:
                first = e
            elif n == 2:
                second = e
            else:
                pick = self.random % n
                if pick == 0:
                    first = e
                elif pick == 1:
                    second = e
        if second is None:
            return first
        return first if cost(first, now) <= cost(second, now) else second


cdef Endpoint only(Endpoint e, int64_t now):
    """The choice where there is one endpoint: that one, available or not, since there is no other."""
    if e.upstream is None or not e.passes_canary:
        return None
    if e.inflight < e.rules.max_inflight or e.passes_checks and not e.silent() and mw_breaker_due(&e.breaker, now):
        return e
    return None


cdef inline bint is_panic(uint32_t usable, uint32_t responsive, uint32_t connected) noexcept:
    """Envoy's panic threshold: with fewer than half of the endpoints available, the checks themselves may be wrong. Then all are
    tried; silent ones only where all are silent."""
    return usable * 2 < (responsive if responsive else connected)


cdef double cost(Endpoint e, int64_t now) noexcept:
    """Requests in flight times latency. An endpoint that has just come back costs more, so that it is not flooded while cold.

    The older a latency is, the less it counts: an endpoint that was slow once is tried again.
    """
    cdef double c = (e.inflight + e.messages + 1) * max(e.latency * MEMORY / (MEMORY + (now - e.answered)), 1000.0)
    cdef int64_t age = now - e.restored
    if age < SLOW_START:
        c *= min(SLOWEST, SLOW_START / max(<double>age, 1.0))
    return c
