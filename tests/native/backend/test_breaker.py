"""The circuit breaker in simulated time: what opens it, for how long, and what closes it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelward_native.backend.breaker import Policy
from modelward_native.testing.breaker import Breaker
from tests.oracle.breaker import Oracle

SECOND = 1_000_000_000
START = 1_000 * SECOND

policies = st.fixed_dictionaries(
    {
        "failures": st.integers(0, 6),
        "success_rate": st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
        "volume": st.integers(1, 12),
        "window": st.sampled_from([10, SECOND, 10 * SECOND]),
        "ejection": st.sampled_from([1, SECOND, 10 * SECOND]),
        "longest": st.sampled_from([10 * SECOND, 25 * SECOND, 60 * SECOND]),
    }
)
steps = st.one_of(st.just(0), st.integers(0, 2 * SECOND), st.integers(0, 100 * SECOND))


class BreakerAgainstOracle(RuleBasedStateMachine):
    """Requests that begin and end in any order, well, badly or without a word, whatever the state."""

    @initialize(policy=policies)
    def start(self, policy: dict[str, int]) -> None:
        self.now = START
        self.oracle = Oracle(**policy, closed_at=0)
        longest = policy.pop("longest")
        self.breaker = Breaker(Policy(**policy, longest_ejection=longest))
        self.under_way: list[bool] = []

    @rule(step=steps)
    def passes(self, step: int) -> None:
        self.now += step
        self.oracle.move_time(self.now)

    @rule()
    def begins(self) -> None:
        due = self.breaker.due(self.now)
        trial = self.breaker.begin(self.now)
        assert trial == due == self.oracle.begin(self.now)
        self.under_way.append(trial)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0), good=st.sampled_from([True, False, False, None]))
    def ends(self, which: int, good: bool | None) -> None:
        trial = self.under_way.pop(which % len(self.under_way))
        assert self.breaker.end(trial, good, self.now) == self.oracle.end(trial, good, self.now)

    @rule(good=st.sampled_from([True, False, False]), times=st.integers(1, 12))
    def a_row(self, good: bool, times: int) -> None:
        for _ in range(times):
            trial = self.breaker.begin(self.now)
            assert trial == self.oracle.begin(self.now)
            assert self.breaker.end(trial, good, self.now) == self.oracle.end(trial, good, self.now)

    @invariant()
    def is_in_the_same_state(self) -> None:
        if hasattr(self, "breaker"):
            assert self.breaker.state(self.now) == self.oracle.state
            assert sum(self.under_way) <= 1


TestBreakerAgainstOracle = BreakerAgainstOracle.TestCase
TestBreakerAgainstOracle.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)


def take_out(breaker: Breaker, now: int) -> int:
    """Fails until it opens; how many failures that took."""
    for count in range(1, 1000):
        if breaker.end(breaker.begin(now), False, now):
            return count
    raise AssertionError("it never opened")


def bring_back(breaker: Breaker, now: int) -> None:
    breaker.end(breaker.begin(now), True, now)
    assert breaker.state(now) == "closed"


def ejection(breaker: Breaker, now: int) -> int:
    """Seconds from `now` until it is half-open."""
    assert breaker.state(now) == "open"
    return next(s for s in range(10_000) if breaker.state(now + s * SECOND) == "half-open")


def test_five_failures_in_a_row_open_it_for_ten_seconds() -> None:
    breaker = Breaker(Policy())
    for _ in range(4):
        assert not breaker.end(False, False, START)
    breaker.end(False, True, START)
    assert take_out(breaker, START) == 5
    assert breaker.state(START + 10 * SECOND - 1) == "open"
    assert breaker.state(START + 10 * SECOND) == "half-open"


def test_half_open_it_takes_one_trial_at_a_time() -> None:
    breaker = Breaker(Policy())
    take_out(breaker, START)
    now = START + 10 * SECOND
    assert breaker.begin(now)
    assert not breaker.begin(now)
    assert not breaker.due(now)


@pytest.mark.parametrize(("good", "state"), [(True, "closed"), (False, "open"), (None, "half-open")])
def test_what_a_trial_brings_decides(good: bool | None, state: str) -> None:
    breaker = Breaker(Policy())
    take_out(breaker, START)
    now = START + 10 * SECOND
    assert breaker.end(breaker.begin(now), good, now) == (good is False)
    assert breaker.state(now) == state
    assert breaker.due(now) == (good is None)


def test_outcomes_of_requests_that_are_no_trial_move_an_open_breaker_nowhere() -> None:
    breaker = Breaker(Policy())
    take_out(breaker, START)
    now = START + 10 * SECOND
    assert breaker.begin(now)
    for good in (True, False, None) * 10:
        assert not breaker.end(False, good, now)
        assert breaker.state(now) == "half-open"


def test_ejections_grow_with_their_number_up_to_the_longest() -> None:
    breaker, now = Breaker(Policy(longest_ejection=35 * SECOND)), START
    take_out(breaker, now)
    lengths = []
    for _ in range(5):
        lengths.append(ejection(breaker, now))
        now += lengths[-1] * SECOND
        breaker.end(breaker.begin(now), False, now)
    assert lengths == [10, 20, 30, 35, 35]


def test_time_in_order_forgives_ejections() -> None:
    breaker, now = Breaker(Policy()), START
    lengths = []
    for order in (0, 0, 25, 1000):
        take_out(breaker, now)
        lengths.append(ejection(breaker, now))
        now += lengths[-1] * SECOND
        bring_back(breaker, now)
        now += order * SECOND
    take_out(breaker, now)
    assert [*lengths, ejection(breaker, now)] == [10, 20, 30, 20, 10]


def test_too_few_good_outcomes_open_it_though_failures_never_come_in_a_row() -> None:
    breaker = Breaker(Policy(failures=0, success_rate=0.5, volume=20))
    outcomes = [True, False, False] * 10
    opened = [breaker.end(False, good, START) for good in outcomes]
    assert opened.index(True) == 19  # the twentieth outcome, and a bad one


def test_outcomes_that_have_left_the_window_do_not_count() -> None:
    breaker = Breaker(Policy(failures=0, success_rate=0.5, volume=20, window=10 * SECOND))
    for _ in range(19):
        assert not breaker.end(False, False, START)
    assert not breaker.end(False, False, START + 10 * SECOND)
    assert breaker.state(START + 10 * SECOND) == "closed"


def test_a_clock_that_steps_back_counts_in_the_present() -> None:
    breaker = Breaker(Policy(failures=0, success_rate=0.5, volume=20))
    for step in range(20):
        opened = breaker.end(False, False, START - step * SECOND)
    assert opened


def test_both_rules_can_be_turned_off() -> None:
    breaker = Breaker(Policy(failures=0, success_rate=0))
    assert not any(breaker.end(False, False, START) for _ in range(10_000))


@pytest.mark.parametrize("spans", [{"window": 9}, {"ejection": 0}, {"ejection": 2, "longest_ejection": 1}])
def test_spans_that_make_no_sense_are_refused(spans: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="spans"):
        Policy(**spans)
