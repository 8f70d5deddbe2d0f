"""The queue before a backend: who goes first, who is shed, what is fair; and how many go at a time."""

import heapq
import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelward_native.testing.waiting import Concurrency, Waiting

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
CAPACITY = 20


@dataclass
class Waiter:
    number: int
    band: int
    own: int
    key: int
    cost: float


class Oracle(RuleBasedStateMachine):
    """The same queue as lists: every order of arrivals, departures, cancellations and corrections."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Waiting(CAPACITY)
        self.flows: dict[int, list[Waiter]] = {}  # who waits, in their own order
        self.start: dict[int, float] = {}
        self.time = 0.0
        self.number = 0

    def _band(self, key: int) -> int:
        return self.flows[key][0].band

    def _leave(self, waiter: Waiter) -> None:
        self.flows[waiter.key].remove(waiter)
        if not self.flows[waiter.key]:
            del self.flows[waiter.key]

    def _victims(self, newcomer: Waiter) -> list[Waiter]:
        """Who may be shed for it; several where flows are equal."""
        band = max(flow[-1].band for flow in self.flows.values())
        last = [flow for flow in self.flows.values() if flow[-1].band == band]
        most = max(len(flow) for flow in last)
        own = self.flows.get(newcomer.key, [])
        largest = [flow[-1] for flow in last if len(flow) == most]
        if newcomer.band < band or (newcomer.band == band and len(own) + 1 < most):
            return largest
        return [own[-1]] if own and (own[-1].band, own[-1].own) > (newcomer.band, newcomer.own) else []

    # costs that differ in every arrival, so that no two flows are alike
    @rule(band=st.integers(0, 1), own=st.integers(0, 2), key=st.integers(0, 4), cost=st.floats(0.5, 9.0))
    def push(self, band: int, own: int, key: int, cost: float) -> None:
        self.number += 1
        newcomer = Waiter(self.number, band, own, key, cost + self.number * 1e-6)
        waits, shed = self.queue.push(self.number, own, key, newcomer.cost, band)
        if sum(map(len, self.flows.values())) == CAPACITY:
            victims = {victim.number: victim for victim in self._victims(newcomer)}
            assert waits == bool(victims)
            if not victims:
                assert shed is None
                return
            assert shed in victims
            self._leave(victims[shed])
        else:
            assert (waits, shed) == (True, None)
        if key not in self.flows or band < self._band(key):
            self.start[key] = max(self.start.get(key, 0.0), self.time)
        flow = self.flows.setdefault(key, [])
        flow.append(newcomer)
        flow.sort(key=lambda waiter: (waiter.band, waiter.own, waiter.number))

    @rule()
    def pop(self) -> None:
        popped = self.queue.pop()
        if not self.flows:
            assert popped is None
            return
        key = min(self.flows, key=lambda key: (self._band(key), self.start[key], self.flows[key][0].number != popped))
        following = self.flows[key][0]
        assert popped == following.number
        self.time = max(self.time, self.start[key])
        self.start[key] += following.cost
        self._leave(following)

    @rule(key=st.integers(0, 4), more=st.floats(-3.0, 30.0))
    def correct(self, key: int, more: float) -> None:
        self.queue.correct(key, more)
        self.start[key] = self.start.get(key, 0.0) + more

    @precondition(lambda self: self.flows)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiters = sorted((w for flow in self.flows.values() for w in flow), key=lambda waiter: waiter.number)
        waiter = data.draw(st.sampled_from(waiters))
        self.queue.remove(waiter.number)
        self._leave(waiter)

    @invariant()
    def as_many_wait(self) -> None:
        assert len(self.queue) == sum(map(len, self.flows.values()))


TestOracle = Oracle.TestCase
TestOracle.settings = settings(max_examples=150, stateful_step_count=80, deadline=None)


def test_ten_thousand_leave_in_order_whatever_order_they_came_in() -> None:
    queue, rng = Waiting(10_000), random.Random(1)
    classes = [rng.randrange(5) for _ in range(10_000)]
    expected: list[tuple[int, int]] = []
    for number, class_ in enumerate(classes):
        assert queue.push(number, class_, key=7) == (True, None)
        heapq.heappush(expected, (class_, number))  # one flow: in its order within a class
    assert [queue.pop() for _ in range(10_000)] == [heapq.heappop(expected)[1] for _ in range(10_000)]


def test_one_who_floods_waits_behind_himself_and_not_before_others() -> None:
    queue = Waiting(1000)
    for number in range(500):
        queue.push(number, 0, key=1)
    queue.push(900, 0, key=2)
    queue.push(901, 0, key=2)
    order = [queue.pop() for _ in range(4)]
    assert set(order) == {0, 900, 1, 901}


def test_a_full_queue_sheds_the_flood_and_keeps_the_others() -> None:
    queue = Waiting(100)
    for number in range(100):
        queue.push(number, 0, key=1)
    assert queue.push(100, 0, key=1) == (False, None)
    assert queue.push(101, 0, key=2) == (True, 99)
    assert len(queue) == 100


def test_the_worst_of_the_largest_flow_is_shed_first() -> None:
    queue = Waiting(4)
    for number, own in enumerate((20, 10, 11)):
        queue.push(number, own, key=1)
    queue.push(3, 20, key=2)
    assert queue.push(4, 20, key=3) == (True, 0)
    assert queue.push(5, 20, key=4) == (True, 2)
    # now all have one: only a flow's own better request takes a place
    assert queue.push(6, 20, key=5) == (False, None)
    assert queue.push(7, 10, key=2) == (True, 3)


def test_a_flow_gains_nothing_at_the_cost_of_others_by_the_order_of_its_own() -> None:
    queue = Waiting(1000)
    for number in range(300):
        queue.push(number, own=10, key=1)
    for number in range(300, 330):
        queue.push(number, own=19, key=2)
    first = [queue.pop() for _ in range(60)]
    assert sum(number is not None and number >= 300 for number in first) == 30


def test_a_better_band_goes_first_and_pushes_a_worse_one_out() -> None:
    queue = Waiting(3)
    for number in range(3):
        queue.push(number, 0, key=number, band=5)
    waits, shed = queue.push(3, 0, key=3, band=1)
    assert waits
    assert queue.push(4, 0, key=4, band=9) == (False, None)
    assert queue.pop() == 3
    assert {queue.pop(), queue.pop(), shed} == {0, 1, 2}


def test_one_whose_requests_cost_more_than_was_thought_waits_until_others_have_had_as_much() -> None:
    queue = Waiting(100)
    queue.pass_by(1)
    for number in range(10):
        queue.push(number, 0, key=1)
        queue.push(50 + number, 0, key=2)
    queue.correct(1, 5.0)
    assert [queue.pop() for _ in range(6)] == [50, 51, 52, 53, 54, 55]


def test_weights_are_kept() -> None:
    queue = Waiting(2000)
    for number in range(600):
        queue.push(number, 0, key=1, cost=1.0)
        queue.push(1000 + number, 0, key=2, cost=0.25)
    first = [queue.pop() for _ in range(500)]
    assert sum(number is not None and number >= 1000 for number in first) == pytest.approx(400, abs=2)


def test_a_newcomer_knows_how_many_go_before() -> None:
    queue = Waiting(1000)
    assert queue.ahead(5) == 0
    for number in range(200):
        queue.push(number, 0, key=1)
    assert queue.ahead(1) == 200
    assert queue.ahead(2) == 1  # one of the other flow's may go before


class Backend:
    """A backend of `slots` slots in simulated time; what waits inside it goes first come, first served."""

    def __init__(self, slots: int, service: int) -> None:
        self.free = [0] * slots
        self.service = service
        self.running: list[tuple[int, int]] = []  # end, begin

    def ends(self, now: int) -> int:
        begins = max(now, heapq.heappop(self.free))
        heapq.heappush(self.free, begins + self.service)
        return begins + self.service


def saturate(limit: Concurrency, backend: Backend, now: int, seconds: float) -> tuple[int, list[int]]:
    """Always as many as are let in; answers per second of the second half, and the limit ten times a second."""
    running = backend.running
    end, answered, seen, next_look = now + int(seconds * SECOND), 0, [], now
    half = now + int(seconds * SECOND) // 2
    while now < end:
        while limit.free:
            limit.enter()
            heapq.heappush(running, (backend.ends(now), now))
        now, began = heapq.heappop(running)
        limit.leave(now - began, now)
        answered += now >= half
        if now >= next_look:
            seen.append(limit.limit)
            next_look = now + SECOND // 10
    return round(answered / (seconds / 2)), seen


@pytest.mark.parametrize(("slots", "service_ms"), [(4, 5), (1, 20), (64, 10)])
def test_the_limit_settles_near_what_the_backend_can_do_at_once(slots: int, service_ms: int) -> None:
    limit = Concurrency(20, 2, 1024)
    per_second, seen = saturate(limit, Backend(slots, service_ms * MILLISECOND), SECOND, 60)
    peak = slots * 1000 / service_ms
    assert per_second >= 0.97 * peak
    settled = seen[len(seen) // 2 :]
    # never enough to make the backend's own queue longer than a few of its services
    assert max(settled) <= 4 * slots + 8
    assert min(settled) >= slots / 2
    assert limit.interval == pytest.approx(SECOND / peak, rel=0.2)


def test_bursts_of_one_are_not_let_in_as_a_whole_before_the_others() -> None:
    """Every second 45 at once, and 100 a second of others at an even rate, before a backend of 4 slots and 5 ms."""
    limit, queue, backend = Concurrency(20, 2, 1024), Waiting(1024), Backend(4, 5 * MILLISECOND)
    others = [(SECOND + i * 10 * MILLISECOND, 1 + i % 4) for i in range(3000)]
    bursts = [((2 + i) * SECOND, 0) for i in range(29) for _ in range(45)]
    arrivals = sorted(others + bursts)
    came, latencies, running = dict(enumerate(arrivals)), [], list[tuple[int, int, int]]()
    number = 0

    def launch(now: int, n: int) -> None:
        limit.enter()
        heapq.heappush(running, (backend.ends(now), now, n))

    while number < len(arrivals) or running:
        if number < len(arrivals) and (not running or arrivals[number][0] < running[0][0]):
            now, key = arrivals[number]
            if limit.free and not len(queue):
                queue.pass_by(key)
                launch(now, number)
            else:
                queue.push(number, 10, key)
            number += 1
            continue
        now, began, n = heapq.heappop(running)
        limit.leave(now - began, now)
        if came[n][1] != 0:
            latencies.append(now - came[n][0])
        while limit.free and (following := queue.pop()) is not None:
            launch(now, following)
    latencies.sort()
    assert len(latencies) == len(others)
    # all at once would be 56 ms of the backend
    assert latencies[len(latencies) * 99 // 100] <= 20 * MILLISECOND
    assert limit.limit <= 14


def test_a_backend_that_gets_slower_is_given_less_and_recovers() -> None:
    limit, backend = Concurrency(20, 2, 1024), Backend(16, 10 * MILLISECOND)
    saturate(limit, backend, SECOND, 20)
    before = limit.limit
    backend.free = backend.free[:4]
    heapq.heapify(backend.free)
    saturate(limit, backend, 21 * SECOND, 20)
    assert limit.limit < 0.75 * before
    now = 41 * SECOND
    backend.free = [now] * 16
    saturate(limit, backend, now, 30)
    assert limit.limit >= 0.75 * before


def test_a_fast_backend_with_jitter_is_not_throttled() -> None:
    limit, rng, now = Concurrency(20, 4, 1024), random.Random(3), SECOND
    for _ in range(250_000):
        while limit.free:
            limit.enter()
        now += 10_000
        limit.leave(int(100_000 * math.exp(rng.gauss(0, 1))), now)
    assert limit.limit > 500


def test_nothing_grows_where_the_limit_is_not_reached() -> None:
    limit = Concurrency(20, 4, 1024)
    for i in range(100_000):
        limit.enter()
        limit.leave(MILLISECOND, SECOND + i * MILLISECOND)
    assert limit.limit == 20


def test_a_pause_is_not_taken_for_the_time_of_a_turn() -> None:
    limit, backend = Concurrency(100, 2, 1024), Backend(4, MILLISECOND)
    limit.enter()
    limit.leave(MILLISECOND, SECOND)
    saturate(limit, backend, 10 * SECOND, 2)
    assert limit.interval == pytest.approx(MILLISECOND / 4, rel=0.2)
    limit.enter()
    limit.leave(MILLISECOND, 60 * SECOND)
    saturate(limit, backend, 100 * SECOND, 0.2)
    assert limit.interval == pytest.approx(MILLISECOND / 4, rel=0.2)


def test_one_that_goes_away_leaves_its_place_and_no_latency() -> None:
    limit = Concurrency(2, 2, 2)
    limit.enter()
    limit.enter()
    assert not limit.free
    limit.leave(-1, SECOND)
    assert limit.free
    assert limit.inflight == 1
