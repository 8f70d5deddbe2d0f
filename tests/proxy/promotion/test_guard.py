"""What takes a version back, and what does not."""

import numpy as np
import pytest

from modelward.config.promotion import PromotionBounds
from modelward.promotion.guard import NOTHING, Arm, breaches, moved
from modelward_native.shadow.evidence import CHANCE, KEY
from modelward_native.telemetry.histogram import EDGES, cell
from tests.proxy.promotion.arms import by_caller, caller

MS = 1_000_000
BOUNDS = PromotionBounds()


def arm(requests: int, errors: int = 0, fallbacks: int = 0, slow: int = 0, slow_ms: float = 100) -> Arm:
    """Of requests that took 10 ms, but for the slow ones."""
    latency = [0] * len(EDGES)
    latency[cell(10 * MS)] = requests - slow
    latency[cell(int(slow_ms * MS))] += slow
    return Arm(requests, errors, fallbacks, tuple(latency))


USUAL = arm(100_000, errors=100, fallbacks=50)


@pytest.mark.parametrize("candidate", [arm(0), arm(3, errors=1), arm(10_000, errors=10, fallbacks=5), arm(10_000, 60)])
def test_what_is_within_the_bounds_or_cannot_be_told_yet_is_left_alone(candidate: Arm) -> None:
    assert breaches(candidate, USUAL, BOUNDS) == []
    assert breaches(candidate, NOTHING, BOUNDS) == [], "nothing to compare it with"


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (arm(12, errors=12), "12 of 12 requests failed"),
        (arm(10_000, errors=200), "200 of 10000 requests failed"),
        (arm(12, fallbacks=12), "12 of 12 requests were answered by the fallback"),
        (arm(2_000, slow=60), "60 of 2000 requests took longer than 0.015 s"),
    ],
)
def test_what_is_significantly_worse_is_told_in_words(candidate: Arm, words: str) -> None:
    (reason,) = breaches(candidate, USUAL, BOUNDS)
    assert words in reason.words


def test_a_canary_that_fails_in_any_worker_is_enough() -> None:
    failing = Arm(0, 0, 0, NOTHING.latency, failing=2)
    for seen in (failing, (failing + arm(10)).since(arm(5))):
        (reason,) = breaches(seen, USUAL, BOUNDS)
        assert (reason.bound, reason.words) == ("canary", "its canary fails, in 2 of the workers")


@pytest.mark.parametrize(
    ("way", "callers", "told"), [(KEY, 64, True), (KEY, 10, False), (CHANCE, 10, True), (CHANCE, 1, True)]
)
def test_where_keys_decide_the_version_answers_of_few_callers_say_nothing(
    way: int, callers: int, *, told: bool
) -> None:
    """Few callers may have answers of their own kind; where chance decides, each caller asks all versions."""
    each = 1280 // callers
    here = by_caller(*[caller(each, score=1000.0)] * callers, way=way)
    there = by_caller(*[caller(each)] * callers, way=way)
    found = moved(here, there, BOUNDS, 1)
    assert [reason.bound for reason in found] == ["outputs"] * told


def test_slower_within_the_bound_is_no_reason() -> None:
    assert breaches(arm(10_000, slow=5_000, slow_ms=14), USUAL, BOUNDS) == []
    assert breaches(arm(10_000, slow=5_000, slow_ms=14), USUAL, PromotionBounds(latency=1.2)) != []


def test_the_last_seconds_need_more_than_the_whole_time_but_not_much() -> None:
    seconds = arm(300)
    assert breaches(arm(5, errors=5), seconds, BOUNDS, recent=True) == []
    assert breaches(arm(30, errors=30), seconds, BOUNDS, recent=True) != []


def test_a_version_that_is_no_worse_is_taken_back_by_chance_in_at_most_five_of_a_hundred_promotions() -> None:
    generator = np.random.default_rng(7)
    taken = 0
    for _ in range(60):
        here, there = arm(0), arm(0)
        for _ in range(60):  # looks
            here += arm(20, errors=int(generator.binomial(20, 0.03)), slow=int(generator.binomial(20, 0.009)))
            there += arm(200, errors=int(generator.binomial(200, 0.02)), slow=int(generator.binomial(200, 0.009)))
            if breaches(here, there, BOUNDS):
                taken += 1
                break
    assert taken <= 3


def test_counts_that_begin_anew_are_taken_as_they_are() -> None:
    assert arm(100, 3).since(arm(40, 1)) == arm(60, 2)
    assert arm(30, 3).since(arm(40, 1)) == arm(30, 3)
