"""The endpoints of a model, and which of them the next request goes to."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, strlen

import os

from modelward_native.backend.breaker cimport (
    MW_BREAKER_OPEN, MW_OUTCOME_BAD, MW_OUTCOME_GOOD, MW_OUTCOME_NONE, Policy, mw_breaker_begin,
    mw_breaker_due, mw_breaker_end, mw_breaker_recount, mw_breaker_state_at, mw_outcome)
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
cdef double SILENCE = 4.0         # times its usual pause, and an endpoint is asked whether it is there
cdef double SILENCE_SHORTEST = 1e7   # ns; on a busy machine any endpoint is silent for that long
cdef double SILENCE_LONGEST = 1e9
cdef float FAILING_STEP = 0.3     # by which one outcome moves a caller's share
cdef float FAILING_SHARE = 0.125  # of the other callers' requests: fewer fail, and a failure is its caller's
cdef int64_t LATELY = 5 * SECOND  # outcomes of other callers that count
cdef int64_t LATELY_TRIED = 60 * SECOND   # where one at a time is let through


cdef class Endpoint:
    """One address of a pool. Its connection is kept by its endpoint manager (modelward.upstream).

    proven: its connections show a certificate of ours.
    """

    def __cinit__(self, str address, str authority, Policy policy=None, bint proven=False):
        self.address = address
        self.authority = authority.encode()
        self.proven = proven
        self.rules = Policy() if policy is None else policy
        self.in_order = True
        self.answers = Histogram()

    @property
    def connected(self) -> bool:
        return self.upstream is not None

    @property
    def policy(self) -> Policy:
        """Of its breaker. Another one begins with an empty window, since windows differ; an ejection lasts as it was begun."""
        return self.rules

    @policy.setter
    def policy(self, Policy policy not None):
        self.rules = policy
        mw_breaker_recount(&self.breaker)

    @property
    def healthy(self) -> bool:
        """What the active checks say; True until one says otherwise. One that was not starts slowly."""
        return self.in_order

    @healthy.setter
    def healthy(self, bint healthy):
        if healthy and not self.in_order:
            self.restored = mw_now_ns()
        self.in_order = healthy

    @property
    def state(self) -> str:
        """One of modelward_native.backend.breaker.STATES. One that has fallen silent counts as open."""
        return STATES[<int>(MW_BREAKER_OPEN if self.silent() else mw_breaker_state_at(&self.breaker, mw_now_ns()))]

    @property
    def breaker_state(self) -> str:
        """The same of its breaker alone."""
        return STATES[<int>mw_breaker_state_at(&self.breaker, mw_now_ns())]

    @property
    def usable(self) -> bool:
        """Whether requests are sent to it unless all endpoints are out."""
        return self.available()

    @property
    def latency_seconds(self) -> float:
        return self.latency / 1e9

    def begin(self, int64_t now):
        """As a request does: for tests. Whether it is the trial."""
        return self.take(now)

    def end(self, bint trial, good, int64_t now, uint32_t caller=0, Pool pool=None):
        """Ends what `begin` has begun; good: None where that says nothing. caller: part of the callers."""
        self.give_back()
        self.judge(trial, caller, MW_OUTCOME_NONE if good is None else MW_OUTCOME_GOOD if good else MW_OUTCOME_BAD,
                   NULL if pool is None else <PyObject *>pool, now)

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
        """Requests waited, and not a byte has come since that was noticed."""
        return self.upstream is not None and self.upstream.transport.active < self.suspected

    cdef bint available(self) noexcept:
        return self.upstream is not None and self.in_order and not self.breaker.open and not self.silent()

    cdef bint take(self, int64_t now) noexcept:
        self.inflight += 1
        self.requests += 1
        return mw_breaker_begin(&self.breaker, now)

    cdef void give_back(self) noexcept:
        self.inflight -= 1

    cdef void judge(self, bint trial, uint32_t caller, mw_outcome outcome, PyObject *pool, int64_t now) noexcept:
        """Passive health: outcomes open the breaker and close it again."""
        cdef bint was_open = self.breaker.open
        self.failures += outcome == MW_OUTCOME_BAD
        if outcome != MW_OUTCOME_NONE and caller < CALLERS:
            self.failing[caller] += (<float>(outcome == MW_OUTCOME_BAD) - self.failing[caller]) * FAILING_STEP
            self.heard[caller] = now
        if outcome == MW_OUTCOME_BAD and caller < CALLERS and not self.is_to_blame(caller, trial, pool, now):
            outcome = MW_OUTCOME_NONE
        if mw_breaker_end(&self.breaker, &self.rules.policy, trial, outcome, now):
            self.ejections += 1
        elif was_open and not self.breaker.open:
            self.restored = now

    cdef bint is_to_blame(self, uint32_t caller, bint trial, PyObject *pool, int64_t now) noexcept:
        """Whether a failure is the endpoint's: not while it serves the others, who send something else. Then no client can have
        it ejected for all, whatever it sends, nor keep it out by failing every trial. Nor is a failure the endpoint's where all
        others fail the same caller too: where all are broken, requests go to all in any case."""
        cdef int64_t since = now - (LATELY_TRIED if trial else LATELY)
        cdef float failing = 0
        cdef int others = 0, i
        for i in range(CALLERS):
            if <uint32_t>i != caller and self.heard[i] and self.heard[i] >= since:
                failing += self.failing[i]
                others += 1
        if others and failing < others * FAILING_SHARE:
            return False
        return pool == NULL or (<Pool>pool).served_elsewhere(self, caller, since)

    cdef void measure(self, int64_t took, int64_t now) noexcept:
        """An answer."""
        self.answered = now
        self.latency += (took - self.latency) * 0.1 if self.latency else took
        mw_histogram_record_ns(&self.answers.histogram, took)
        self.p95 = estimated(self.p95, took)

    cdef void outlast(self, int64_t took, int64_t now) noexcept:
        """An answer that was waited for so long and no longer: its latency is at least that."""
        if took > self.latency:
            self.answered = now
            self.latency += (took - self.latency) * 0.1

    cdef void paused(self, int64_t span) noexcept:
        """Requests were in flight, and for so long nothing came."""
        self.pause = estimated(self.pause, span)

    cdef int64_t patience(self) noexcept:
        """ns without a byte, while requests wait, that make an endpoint suspect."""
        if self.pause == 0:
            return <int64_t>SILENCE_LONGEST
        return <int64_t>min(max(SILENCE * self.pause, SILENCE_SHORTEST), SILENCE_LONGEST)


cdef class Pool:
    """The endpoints of one model. Picks by the power of two choices (Mitzenmacher 2001) on requests in flight times latency.

    hedge_share: requests that may be sent to a second endpoint too, per request; 0 for none. resends: whether a request
    goes to a second endpoint where the first died or fell silent and may have begun it.
    """

    def __cinit__(self, list endpoints, double hedge_share=0, bint resends=False):
        cdef int i
        self.endpoints = endpoints
        self.hedge_share = hedge_share
        self.resends = resends
        self.random = int.from_bytes(os.urandom(8), "little") | 1
        self.retries = BUDGET_ALL
        for i in range(CALLERS):
            self.retries_of[i] = BUDGET_FLOOR

    def replace(self, list endpoints):
        """Requests from now on go to these; those in flight end where they are, since their connection knows its endpoint."""
        self.endpoints = list(endpoints)

    def next(self, int64_t now):
        """The endpoint that a request at `now` (ns, monotonic) would go to, None where there is none: for tests."""
        return self.choose(None, now)

    @property
    def panic(self) -> bool:
        """Whether requests are sent to connected endpoints that are out of order too, since too few are in order."""
        cdef Endpoint e
        cdef uint32_t usable = 0, heard = 0, connected = 0
        for e in self.endpoints:
            if e.upstream is not None:
                connected += 1
                usable += e.available()
                heard += not e.silent()
        return is_panic(usable, heard, connected)

    @property
    def connected(self) -> bool:
        """Whether requests have an endpoint to go to, in order or not."""
        cdef Endpoint e
        for e in self.endpoints:
            if e.upstream is not None:
                return True
        return False

    cdef void earn(self, uint32_t caller) noexcept:
        self.retries = min(self.retries + BUDGET_SHARE, BUDGET_ALL)
        self.retries_of[caller] = min(self.retries_of[caller] + BUDGET_SHARE, BUDGET_CALLER)
        self.hedges_of[caller] = min(self.hedges_of[caller] + self.hedge_share, BUDGET_FLOOR)

    cdef bint may_retry(self, uint32_t caller) noexcept:
        """Of what its own requests have earned: requests that fail everywhere take no retries from those of others."""
        return self.retries >= 1 and self.retries_of[caller] >= 1

    cdef void spend_retry(self, uint32_t caller) noexcept:
        self.retries -= 1
        self.retries_of[caller] -= 1

    cdef bint served_elsewhere(self, Endpoint failed, uint32_t caller, int64_t since) noexcept:
        """Whether another endpoint fails the caller less than half as often as this one does; also where none has heard it."""
        cdef Endpoint e
        cdef bint heard = False
        for e in self.endpoints:
            if e is failed or e.heard[caller] == 0 or e.heard[caller] < since:
                continue
            heard = True
            if 2 * e.failing[caller] < failed.failing[caller]:
                return True
        return not heard

    cdef bint untrusted(self) noexcept:
        cdef Endpoint e
        cdef bint found = False
        for e in self.endpoints:
            if e.upstream is not None:
                return False
            found |= e.untrusted
        return found

    cdef Endpoint only(self, int64_t now):
        """Where there is one endpoint: it, in order or not, since there is no other."""
        cdef Endpoint e = self.endpoints[0]
        if e.upstream is None:
            return None
        if e.inflight < e.rules.max_inflight or e.in_order and not e.silent() and mw_breaker_due(&e.breaker, now):
            return e
        return None

    cdef Endpoint choose(self, Endpoint avoid, int64_t now):
        cdef Endpoint e, first = None, second = None
        cdef uint32_t n = 0, usable = 0, heard = 0, connected = 0, pick
        cdef bint panic
        if len(self.endpoints) == 1:
            return self.only(now)
        for e in self.endpoints:
            if e.upstream is None or e is avoid:
                continue
            connected += 1
            usable += e.available()
            if e.silent():
                continue
            heard += 1
            # a first send only: what is sent again has had its share of trouble
            if avoid is None and e.in_order and mw_breaker_due(&e.breaker, now):
                return e
        panic = is_panic(usable, heard, connected)
        for e in self.endpoints:
            if e.upstream is None or e is avoid or e.inflight >= e.rules.max_inflight:
                continue
            if not ((not heard or not e.silent()) if panic else e.available()):
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


cdef inline bint is_panic(uint32_t usable, uint32_t heard, uint32_t connected) noexcept:
    """With fewer than half of them in order, the checks may be what is wrong: all are tried again, but for those that are
    silent, as long as any is not (Envoy's panic threshold)."""
    return usable * 2 < (heard if heard else connected)


cdef double cost(Endpoint e, int64_t now) noexcept:
    """What is in flight times latency; more while one that has come back is still cold, so that it is not flooded.

    A latency counts for less the older it is: an endpoint that was slow once is tried again.
    """
    cdef double c = (e.inflight + e.messages + 1) * max(e.latency * MEMORY / (MEMORY + (now - e.answered)), 1000.0)
    cdef int64_t age = now - e.restored
    if age < SLOW_START:
        c *= min(SLOWEST, SLOW_START / max(<double>age, 1.0))
    return c
