"""How many of a version's callers must lie to have a good one taken back, or to keep a bad one where it is."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.config.promotion import PromotionBounds
from modelward.promotion.callers import Compared, significantly_worse
from modelward.promotion.guard import LEVEL, breaches
from modelward.shadow.callers import left_out
from modelward_native.shadow.evidence import CHANCE, KEY
from tests.proxy.promotion.arms import Caller, by_caller, caller

BOUNDS = PromotionBounds()
HONEST, FEW = caller(900, 1), caller(100)  # of one caller there and here
USUAL = 0.02


def told(
    honest: int, liars: int, *, lies: Caller, their_there: Caller | None, here: Caller = FEW, way: int = KEY
) -> list[str]:
    """The bounds that a version is found beyond. honest, liars: callers. lies: what the latter's requests came to here,
    and there."""
    candidate = by_caller(*[here] * honest, *[lies] * liars, way=way)
    incumbent = by_caller(*[HONEST] * honest, *[their_there] * liars, way=way)
    return [each.bound for each in breaches(candidate, incumbent, BOUNDS)]


@pytest.mark.parametrize(("callers", "liars"), [(3, 1), (10, 1), (19, 1), (20, 2), (40, 4), (64, 6)])
@pytest.mark.parametrize("requests", [1, 100, 100_000])
def test_a_tenth_of_the_callers_take_no_version_back_whatever_they_send(
    callers: int, liars: int, requests: int
) -> None:
    """They aim at it: all that they send there fails, all that they send elsewhere does not, or there is none."""
    assert left_out(callers) == liars
    for there in (None, caller(1), caller(50)):
        found = told(callers - liars, liars, lies=caller(0, requests), their_there=there)
        assert found == []
        slow = caller(requests, slow=requests)
        assert told(callers - liars, liars, lies=slow, their_there=there) == []


@pytest.mark.parametrize(("callers", "liars"), [(3, 2), (20, 3), (40, 5), (64, 7)])
def test_more_than_a_tenth_are_believed(callers: int, liars: int) -> None:
    assert told(callers - liars, liars, lies=caller(0, 100), their_there=None) == ["errors"]


@pytest.mark.parametrize(("honest", "liars"), [(2, 10), (3, 20), (7, 57), (10, 1)])
@pytest.mark.parametrize("requests", [10, 100_000])
def test_nine_tenths_of_the_callers_keep_no_version_that_fails_for_the_others(
    honest: int, liars: int, requests: int
) -> None:
    """Here all goes well with them, and there they make all fail."""
    failing = caller(70, 30)
    found = told(honest, liars, here=failing, lies=caller(requests), their_there=caller(1, requests))
    assert found == ["errors"]
    slow = caller(100, slow=30)
    found = told(honest, liars, here=slow, lies=caller(requests), their_there=caller(requests, slow=requests))
    assert found == ["latency"]


@pytest.mark.parametrize("callers", [1, 2, 3, 10, 64])
@pytest.mark.parametrize("way", [CHANCE, KEY])
def test_a_version_that_fails_for_everybody_is_found_by_a_few_failures_of_each(callers: int, way: int) -> None:
    each = 12 // callers + 3
    assert told(callers, 0, here=caller(0, each), lies=FEW, their_there=None, way=way) == ["errors"]


def test_where_chance_decides_inputs_that_fail_on_both_say_nothing_however_many_send_them() -> None:
    generator = np.random.default_rng(3)
    for callers in (1, 2, 5, 30):
        for _ in range(10):
            here = [caller(0, int(n)) for n in generator.binomial(1000, 0.2, size=callers)]
            there = [caller(0, 1000 - each.failed) for each in here]
            candidate, incumbent = by_caller(*here, *[FEW] * 34), by_caller(*there, *[HONEST] * 34)
            assert breaches(candidate, incumbent, BOUNDS) == []


def test_a_caller_with_most_of_the_requests_is_believed_unless_it_aims_at_the_version() -> None:
    """A gateway beside probes that never fail. One that aims has its requests here, and hardly any there."""
    here, there = [caller(700, 300), *[caller(5)] * 9], [caller(9000, 9), *[caller(50)] * 9]
    for way in (CHANCE, KEY):
        found = breaches(by_caller(*here, way=way), by_caller(*there, way=way), BOUNDS)
        assert [each.bound for each in found] == ["errors"]
    there[0] = caller(90)
    assert breaches(by_caller(*here, way=KEY), by_caller(*there, way=KEY), BOUNDS) == []


def test_equal_callers_are_called_worse_by_chance_in_at_most_five_of_a_hundred_promotions() -> None:
    """Looked at all along, of callers who differ, and of whom one always lies: with his help, too."""
    generator = np.random.default_rng(11)
    false_alarms, promotions = 0, 150
    for _ in range(promotions):
        rates = generator.beta(0.5, 50, size=12)
        n, k = np.zeros(12, int), np.zeros(12, int)
        failed, failed_there = n.copy(), k.copy()
        for look in range(30):
            more = generator.poisson(2, size=12)
            n += more
            failed += generator.binomial(more, rates)
            more = generator.poisson(8, size=12)
            k += more
            failed_there += generator.binomial(more, rates)
            lie = Compared(10 * (look + 1), 10 * (look + 1), 0, 0, USUAL)
            columns = zip(failed.tolist(), n.tolist(), failed_there.tolist(), k.tolist(), strict=True)
            if significantly_worse([*(Compared(*each, USUAL) for each in columns), lie], LEVEL, aimed=True):
                false_alarms += 1
                break
    assert false_alarms <= 0.05 * promotions


def test_one_or_two_callers_that_a_key_brought_first_are_not_believed_before_others_can_have_come() -> None:
    here, there = [caller(0, 50)] * 2, [*[None] * 2, *[HONEST] * 30]
    for way, early, found in ((KEY, True, []), (KEY, False, ["errors"]), (CHANCE, True, ["errors"])):
        seen = breaches(by_caller(*here, way=way), by_caller(*there, way=way), BOUNDS, early=early)
        assert [each.bound for each in seen] == found
    three = by_caller(*[caller(0, 50)] * 3, way=KEY)
    assert [each.bound for each in breaches(three, by_caller(*there, way=KEY), BOUNDS, early=True)] == ["errors"]


def test_where_there_are_no_other_callers_one_or_two_are_believed_at_once() -> None:
    here, there = by_caller(*[caller(0, 50)] * 2, way=KEY), by_caller(*[HONEST] * 2, way=KEY)
    assert [each.bound for each in breaches(here, there, BOUNDS, early=True)] == ["errors"]
