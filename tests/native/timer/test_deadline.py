import asyncio
import time

import pytest
import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from modelward_native.testing.timer import Timer
from modelward_native.timer.deadline import Wheel
from tests.oracle import wheel as oracle
from tests.oracle.wheel import TICK_NS

MS = 1_000_000
START = 5_000_000 * MS
NAMES = range(12)


class Handle:
    def __init__(self, due_ns, callback):
        self.due_ns = due_ns
        self.callback = callback
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


class FakeLoop:
    """A loop whose time is set by hand; counts how often it was asked for a timer."""

    def __init__(self, now_ns=START):
        self.now_ns = now_ns
        self.handles = []

    def clock(self):
        return self.now_ns

    def call_later(self, delay, callback):
        assert delay >= 0
        self.handles.append(Handle(self.now_ns + round(delay * 1000) * MS, callback))
        return self.handles[-1]

    def live(self):
        return [h for h in self.handles if not h.cancelled]

    def wake(self, now_ns):
        """Moves time and lets the one armed timer go off, due or not, as libuv's may a little early."""
        self.now_ns = now_ns
        (handle,) = self.live()
        self.handles.remove(handle)
        handle.callback()

    def go_to(self, now_ns):
        """Moves time and lets every timer that is due by then go off, once each at most."""
        self.now_ns = now_ns
        for handle in self.live():
            if handle.due_ns <= now_ns:
                self.handles.remove(handle)
                handle.callback()


def make(now_ns=START):
    loop = FakeLoop(now_ns)
    return loop, Wheel(loop, loop.clock)


def at_tick(tick):
    """The time of a tick counted from the one START lies in."""
    return (START // TICK_NS + tick) * TICK_NS


spans = st.one_of(
    st.integers(-5 * MS, 200 * MS),
    st.integers(0, 2**30).map(lambda t: t * TICK_NS),
    st.integers(-(2**62), 2**62),
    st.sampled_from([0, 1, TICK_NS, 63 * TICK_NS, 64 * TICK_NS, 65 * TICK_NS, 4095 * TICK_NS, 4096 * TICK_NS]),
)
actions = st.lists(st.tuples(st.sampled_from(["add", "cancel"]), st.sampled_from(NAMES), spans), max_size=3)


class WheelAgainstOracle(RuleBasedStateMachine):
    """Adds, cancels and lets time pass; timers that fire add and cancel others, themselves included."""

    @initialize()
    def start(self):
        self.loop, self.wheel = make()
        self.oracle = oracle.Oracle(START)
        self.on_fire = {}
        self.last_tick = None
        self.timers = {name: Timer(self.wheel, lambda now, name=name: self.fired(name, now)) for name in NAMES}

    def act(self, what, name, span):
        if what == "add" and not self.oracle.is_pending(name):
            due = min(self.loop.now_ns + span, 2**63 - 1)
            self.timers[name].add(due)
            self.oracle.add(name, due)
        elif what == "cancel":
            self.timers[name].cancel()
            self.oracle.cancel(name)

    def fired(self, name, now):
        assert now == self.loop.now_ns
        tick = self.oracle.fired(name)
        on_time = tick > self.tick_before  # a timer added with a passed tick comes first, whatever its tick
        assert not on_time or self.last_tick is None or tick >= self.last_tick
        self.last_tick = tick if on_time else self.last_tick
        for action in self.on_fire.pop(name, []):
            self.act(*action)

    def wake(self, now):
        """The loop's timer, if one is armed, goes off, on time or not."""
        self.loop.now_ns = now
        if self.wheel.armed is None:
            return
        self.tick_before, self.last_tick = self.oracle.tick, None
        self.oracle.begin(now)
        self.loop.wake(now)
        assert self.oracle.expired == {}

    @rule(name=st.sampled_from(NAMES), span=spans, then=actions)
    def add(self, name, span, then):
        if not self.oracle.is_pending(name):
            self.on_fire[name] = then
            self.act("add", name, span)

    @rule(name=st.sampled_from(NAMES))
    def cancel(self, name):
        self.act("cancel", name, 0)

    @rule(span=st.one_of(st.integers(0, 100 * MS), st.integers(0, 2**58)))
    def let_time_pass(self, span):
        self.wake(min(self.loop.now_ns + span, 2**62))

    @rule()
    def wait_for_the_armed_time(self):
        if self.wheel.armed is not None:
            self.wake(min(max(self.loop.now_ns, self.wheel.armed), 2**62))

    @rule(span=st.integers(0, 50 * MS))
    def set_the_clock_back(self, span):
        self.wake(self.loop.now_ns - span)

    @invariant()
    def pending_timers_are_those_of_the_oracle(self):
        assert {name for name in NAMES if self.timers[name].pending} == set(self.oracle.pending)

    @invariant()
    def the_next_time_is_never_after_the_next_timer(self):
        due = self.oracle.next_due_ns()
        assert self.wheel.next_ns() is None or due is not None
        if due is not None and due < 2**63 - TICK_NS:
            assert self.wheel.next_ns() is not None
            # For a timer whose tick has passed the wheel names a passed time, though perhaps not that timer's.
            assert self.wheel.next_ns() <= max(due, self.oracle.tick * TICK_NS)

    @invariant()
    def the_loop_is_armed_once_and_in_time(self):
        due = self.oracle.next_due_ns()
        assert len(self.loop.live()) <= 1
        if due is not None and due < 2**63 - TICK_NS:  # beyond, it is due after the end of time
            assert self.wheel.armed is not None
            assert self.wheel.armed <= max(due, self.oracle.tick * TICK_NS)

    def teardown(self):
        for timer in getattr(self, "timers", {}).values():
            timer.cancel()


TestWheelAgainstOracle = WheelAgainstOracle.TestCase
TestWheelAgainstOracle.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_a_timer_fires_in_the_first_tick_at_or_after_its_due_time_and_not_before():
    loop, wheel = make()
    fired: list[int] = []
    Timer(wheel, fired.append).add(at_tick(50) - 1)
    loop.wake(START)
    loop.wake(at_tick(50) - 1)
    assert fired == []
    loop.wake(at_tick(50))
    assert fired == [at_tick(50)]


@pytest.mark.parametrize("ticks", [1, 63, 64, 65, 4095, 4096, 4097, 2**18, 2**24 + 1, 2**36 + 63])
def test_a_timer_at_any_distance_fires_exactly_on_its_tick(ticks):
    loop, wheel = make()
    fired: list[int] = []
    Timer(wheel, fired.append).add(at_tick(ticks))
    for _ in range(20):  # each waking may move the timer down a level; there are eight
        if fired:
            break
        assert wheel.next_ns() <= at_tick(ticks)
        loop.wake(max(loop.now_ns, wheel.next_ns()))
    assert fired == [at_tick(ticks)]


def test_a_leap_of_a_century_fires_everything_at_once_in_order():
    loop, wheel = make()
    fired: list[int] = []
    for ticks in (5, 3_000_000, 70, 1, 9_000, 64):
        Timer(wheel, lambda now, ticks=ticks: fired.append(ticks)).add(at_tick(ticks))
    loop.go_to(START + 100 * 365 * 86_400 * 1000 * MS)
    assert fired == [1, 5, 64, 70, 9_000, 3_000_000]


def test_a_timer_added_while_firing_waits_for_the_next_round_even_if_it_is_overdue():
    loop, wheel = make()
    rounds = []

    def again(now):
        rounds.append(now)
        if len(rounds) < 3:
            timer.add(now - 10 * MS)

    timer = Timer(wheel, again)
    timer.add(START)
    for expected in (1, 2, 3):
        loop.go_to(loop.now_ns + 10 * MS)
        assert len(rounds) == expected


def test_a_timer_cancelled_by_another_of_the_same_tick_does_not_fire():
    loop, wheel = make()
    fired: list[int] = []
    second = Timer(wheel, lambda now: fired.append("second"))
    first = Timer(wheel, lambda now: (fired.append("first"), second.cancel()))
    first.add(at_tick(3))
    second.add(at_tick(3))
    loop.go_to(at_tick(5))
    assert fired == ["first"]
    assert wheel.armed is None


def test_the_loop_is_asked_again_only_for_an_earlier_deadline():
    loop, wheel = make()
    timers = [Timer(wheel, lambda now: None) for _ in range(100)]
    for i, timer in enumerate(timers):
        timer.add(START + (50 + i) * MS)
    assert len(loop.handles) == 1
    for timer in timers:
        timer.cancel()
    assert len(loop.handles) == 1
    Timer(wheel, lambda now: None).add(START + 10 * MS)
    assert [h.cancelled for h in loop.handles] == [True, False]


def test_a_busy_server_arms_about_once_per_deadline_span():
    loop, wheel = make()
    timers = [Timer(wheel, lambda now: None) for _ in range(8)]
    for i in range(10_000):  # a request every 100 us, each answered 800 us later, long before its 50 ms are over: 1 s
        timers[i % 8].cancel()
        timers[i % 8].add(loop.now_ns + 50 * MS)
        loop.go_to(loop.now_ns + MS // 10)
    assert len(loop.handles) == 1
    assert sum(timer.pending for timer in timers) == 8


def test_an_empty_wheel_holds_no_loop_timer():
    loop, wheel = make()
    Timer(wheel, lambda now: None).add(START + MS)
    loop.go_to(START + 10 * MS)
    assert (wheel.armed, loop.live()) == (None, [])


def test_a_callbacks_exception_is_raised_once_all_others_have_fired_and_the_loop_is_armed():
    loop, wheel = make()
    fired: list[int] = []

    def fail(now):
        raise RuntimeError("of the callback")

    Timer(wheel, fail).add(at_tick(1))
    Timer(wheel, fired.append).add(at_tick(2))
    Timer(wheel, fired.append).add(at_tick(900))
    with pytest.raises(RuntimeError, match="of the callback"):
        loop.go_to(at_tick(3))
    assert len(fired) == 1
    assert len(loop.live()) == 1
    loop.wake(at_tick(900))
    assert len(fired) == 2


def test_adding_a_pending_timer_is_refused():
    _, wheel = make()
    timer = Timer(wheel, lambda now: None)
    timer.add(START + MS)
    with pytest.raises(ValueError, match="already pending"):
        timer.add(START + 2 * MS)
    timer.cancel()
    timer.cancel()
    assert not timer.pending


def test_closing_takes_the_timer_off_the_loop():
    loop, wheel = make()
    timer = Timer(wheel, lambda now: None)
    timer.add(START + MS)
    wheel.close()
    assert loop.live() == []
    timer.cancel()


def test_under_uvloop_a_deadline_fires_after_its_due_time():
    async def fire_once():
        loop = asyncio.get_running_loop()
        wheel = Wheel(loop)
        fired = loop.create_future()
        due = time.monotonic_ns() + 5 * MS
        Timer(wheel, fired.set_result).add(due)
        now = await asyncio.wait_for(fired, 10)
        wheel.close()
        return now - due

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(fire_once()) >= 0
