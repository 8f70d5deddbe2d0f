"""When a version is known to keep its bounds, and what is missing until then."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from msgspec.structs import replace

from modelward.config.promotion import PromotionBounds
from modelward.promotion.decide import findings
from modelward.promotion.finding import Decision, Finding, undecided
from modelward.promotion.guard import NOTHING, Arm
from tests.proxy.promotion.arms import Caller, by_caller, caller
from tests.proxy.promotion.test_guard import arm
from tests.proxy.promotion.test_outputs import sketch

BOUNDS = PromotionBounds()
MANY = (10,) * 64
FEW = (300, 300) + (0,) * 62


def answered(count: int, mean: float = 0.0, callers: tuple[int, ...] = MANY, **counts: int) -> Arm:
    """`count` answers, of which one in 16 is in the sample."""
    scores = np.random.default_rng(count).normal(mean, size=count // 16)
    return replace(arm(count, **counts), outputs=sketch(*scores), callers=callers)


def by_bound(candidate: Arm, incumbent: Arm) -> Mapping[str, Finding]:
    return {each.bound: each for each in findings(candidate, incumbent, BOUNDS)}


def test_equal_versions_keep_every_bound_once_enough_is_answered() -> None:
    assert undecided(findings(answered(10_000), answered(90_000), BOUNDS)) == []


def test_of_a_sample_only_the_answers_in_it_are_counted() -> None:
    found = by_bound(answered(18), answered(90_000))["outputs"]
    assert found.answers <= 1
    assert "one in 16" in str(found)


@pytest.mark.parametrize("candidate", [NOTHING, arm(1), arm(300)])
def test_of_few_answers_nothing_is_decided_and_what_is_missing_is_told(candidate: Arm) -> None:
    found = findings(candidate, answered(90_000), BOUNDS)
    assert [each.bound for each in found] == ["errors", "fallbacks", "latency", "outputs"]
    assert {each.decision for each in found} == {Decision.UNDECIDED}
    for each in found[:3] if candidate.requests else ():
        assert (each.answers, 500 < each.needed < 1000) == (candidate.requests, True)
        assert f"{each.answers} of {each.needed} answers" in str(each)


def test_what_is_foreseen_is_enough() -> None:
    few = by_bound(answered(320), answered(90_000))
    for bound in ("errors", "fallbacks", "latency"):
        needed = few[bound].needed
        assert by_bound(answered(needed), answered(90_000))[bound].decision is Decision.KEPT
        assert by_bound(answered(needed * 9 // 10), answered(90_000))[bound].decision is Decision.UNDECIDED


@pytest.mark.parametrize(
    ("bound", "candidate"),
    [
        ("errors", answered(5000, errors=60)),
        ("fallbacks", answered(5000, fallbacks=60)),
        ("latency", answered(5000, slow=60)),
        ("outputs", answered(16_000, mean=0.5)),
        ("outputs", answered(16_000, mean=3)),
    ],
)
def test_what_is_at_its_bound_or_beyond_is_never_called_kept(bound: str, candidate: Arm) -> None:
    found = by_bound(candidate, answered(90_000))
    assert [each for each in found if found[each].decision is not Decision.KEPT] == [bound]


def test_errors_that_the_other_versions_have_as_well_are_no_reason_to_stop() -> None:
    assert undecided(findings(answered(20_000, errors=400), answered(90_000, errors=1800), BOUNDS)) == []


def test_without_the_other_versions_answers_nothing_is_decided() -> None:
    assert len(undecided(findings(answered(20_000), NOTHING, BOUNDS))) == 4


def test_answers_of_two_callers_decide_nothing() -> None:
    found = by_bound(answered(16_000, callers=FEW), answered(90_000, callers=FEW))["outputs"]
    assert found.decision is Decision.UNDECIDED
    assert "promotion.by" in found.how


def test_answers_that_hold_nothing_to_compare_are_told_with_the_way_out() -> None:
    found = by_bound(arm(50_000), arm(90_000))["outputs"]
    assert "outputs to off" in str(found)
    off = PromotionBounds.model_validate({"outputs": "off"})
    assert "outputs" not in {each.bound for each in findings(arm(50_000), arm(90_000), off)}


HONEST = [caller(1000)] * 11


@pytest.mark.parametrize(
    ("bound", "alike"),
    [("errors", caller(0, 300)), ("fallbacks", caller(150, replaced=150)), ("latency", caller(300, slow=300))],
)
def test_a_caller_whose_requests_do_badly_on_every_version_keeps_no_step_from_ending(bound: str, alike: Caller) -> None:
    both = by_caller(*HONEST, alike)
    assert by_bound(both, both)[bound].decision is Decision.KEPT


@pytest.mark.parametrize(
    ("bound", "good", "bad"),
    [
        ("errors", caller(300), caller(0, 300)),
        ("errors", caller(150, 150), caller(0, 300)),
        ("fallbacks", caller(300), caller(0, replaced=300)),
        ("latency", caller(300), caller(300, slow=300)),
        ("latency", caller(300, slow=300), caller(300, slow=300, slow_ms=300)),
    ],
)
def test_a_caller_whose_requests_do_worse_on_the_version_still_does(bound: str, good: Caller, bad: Caller) -> None:
    candidate, incumbent = by_caller(*HONEST, bad), by_caller(*HONEST, good)
    assert by_bound(candidate, incumbent)[bound].decision is Decision.UNDECIDED
    # nor does another help, whose requests do badly on the others alone
    candidate, incumbent = by_caller(*HONEST, bad, caller(300)), by_caller(*HONEST, good, caller(0, 300))
    assert by_bound(candidate, incumbent)[bound].decision is Decision.UNDECIDED
