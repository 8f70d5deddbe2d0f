"""The endpoints of a model, and which of them the next request goes to."""
from libc.stdint cimport int64_t, uint32_t

import os

from native.histogram cimport Histogram, mw_histogram_record_ns
from native.session cimport mw_now_ns

cdef enum:
    EJECT_AFTER = 5               # failures in a row
    MOST_INFLIGHT = 1024          # requests on one endpoint; more wait nowhere, they fall down the ladder

cdef int64_t SECOND = 1000000000
cdef int64_t EJECTION = 10 * SECOND
cdef int64_t SLOW_START = 10 * SECOND
cdef double SLOWEST = 10.0        # times the cost of an endpoint that has just come back
cdef double MEMORY = 1e9          # ns; a latency this old counts half
cdef double BUDGET_FLOOR = 10.0   # and always so many


cdef class Endpoint:
    """One address of a pool. Its connection is kept by whoever made it (proxy.route)."""

    def __cinit__(self, str address, str authority):
        self.address = address
        self.authority = authority.encode()
        self.in_order = True
        self.answers = Histogram()

    @property
    def connected(self) -> bool:
        return self.upstream is not None

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
    def ejected(self) -> bool:
        return self.ejected_until > mw_now_ns()

    @property
    def latency_seconds(self) -> float:
        return self.latency / 1e9

    cdef bint available(self, int64_t now) noexcept:
        return self.upstream is not None and self.in_order and self.ejected_until <= now

    cdef void judge(self, bint good, int64_t took, int64_t now) noexcept:
        """Passive health: failures in a row eject; an answer is a measurement."""
        if good:
            self.failures_in_row = 0
            self.answered = now
            self.latency += (took - self.latency) * 0.1 if self.latency else took
            mw_histogram_record_ns(&self.answers.histogram, took)
            # Robbins and Monro 1951, in steps of a twentieth of the estimate
            if self.p95 == 0:
                self.p95 = took
            elif took > self.p95:
                self.p95 *= 1 + 0.05 * 0.95
            else:
                self.p95 *= 1 - 0.05 * 0.05
            return
        self.failures += 1
        self.failures_in_row += 1
        if self.failures_in_row >= EJECT_AFTER:
            self.failures_in_row = 0
            self.ejections += 1
            self.ejected_until = now + EJECTION
            self.restored = self.ejected_until

    cdef void outlast(self, int64_t took, int64_t now) noexcept:
        """An answer that was waited for so long and no longer: its latency is at least that."""
        if took > self.latency:
            self.answered = now
            self.latency += (took - self.latency) * 0.1


cdef class Pool:
    """The endpoints of one model. Picks by the power of two choices (Mitzenmacher 2001) on requests in flight times latency.

    hedge_share: requests that may be sent to a second endpoint too, per request; 0 for none.
    """

    def __cinit__(self, list endpoints, double hedge_share=0):
        self.endpoints = endpoints
        self.hedge_share = hedge_share
        self.random = int.from_bytes(os.urandom(8), "little") | 1
        self.budget = BUDGET_FLOOR

    def replace(self, list endpoints):
        """Requests from now on go to these; those under way end where they are, since their connection knows its endpoint."""
        self.endpoints = list(endpoints)

    def next(self, int64_t now):
        """The endpoint that a request at `now` (ns, monotonic) would go to, None where there is none: for tests."""
        return self.choose(None, now)

    cdef Endpoint choose(self, Endpoint avoid, int64_t now):
        cdef Endpoint e, first = None, second = None
        cdef uint32_t n = 0, usable = 0, connected = 0, pick
        cdef uint32_t count = <uint32_t>len(self.endpoints)
        for e in self.endpoints:
            connected += e.upstream is not None and e is not avoid
            usable += e.available(now) and e is not avoid
        # with fewer than half of them in order, the checks may be what is wrong: everybody connected is tried again
        panic = usable * 2 < connected
        n = 0
        for e in self.endpoints:
            if e.upstream is None or e.inflight >= MOST_INFLIGHT or (e is avoid and count > 1) or not (panic or e.available(now)):
                continue
            n += 1
            # reservoir of two: every pair is equally likely
            self.random ^= self.random << 13
            self.random ^= self.random >> 7
            self.random ^= self.random << 17
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


cdef double cost(Endpoint e, int64_t now) noexcept:
    """Requests in flight times latency; more while one that has come back is still cold, so that it is not flooded.

    A latency counts for less the older it is: an endpoint that was slow once is tried again.
    """
    cdef double c = (e.inflight + 1) * max(e.latency * MEMORY / (MEMORY + (now - e.answered)), 1000.0)
    cdef int64_t age = now - e.restored
    if age < SLOW_START:
        c *= min(SLOWEST, SLOW_START / max(<double>age, 1.0))
    return c
