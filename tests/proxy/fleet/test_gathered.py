"""What other servers have counted, added up where it is of the step that this server is at."""

from __future__ import annotations

import tracemalloc

import pytest

from modelward.fleet import evidence
from modelward.fleet.gathered import Gathered, gathered
from modelward.fleet.store import KEPT_SECONDS, Told
from modelward.promotion.guard import NOTHING, Arm
from modelward.promotion.state import Promotion
from modelward.promotion.step import Sides
from modelward.shadow.pairs import Pairs, essence
from modelward_native.telemetry.histogram import EDGES
from tests.proxy.fleet.test_evidence import SEEN, some
from tests.proxy.fleet.test_record import promotion

FAILING = Sides(Arm(10, 0, 0, NOTHING.latency, failing=1), some(10), recent=(some(3), some(3)))


def said(counted: Sides = SEEN, age: float = 1.0, **of: Promotion) -> Told:
    promotions = of or {"m": promotion()}
    return Told(age, evidence.encoded({model: (each, counted) for model, each in promotions.items()}))


def heard(*told: Told, at: float = 0.0) -> Gathered:
    by_server = {str(number): each for number, each in enumerate(told)}
    return gathered(by_server, {"m": promotion()}, {}, at)


@pytest.mark.parametrize(("began", "step", "counts"), [(1, 0, True), (2, 0, False), (1, 1, False)])
def test_only_what_is_of_the_same_step_is_added(began: int, step: int, *, counts: bool) -> None:
    found = heard(said(m=promotion(began, 2, step=step)))
    assert found.bad == []
    assert (found.added("m", promotion(), SEEN, 0.0) == SEEN + SEEN) is counts
    assert found.added("m", promotion(4, 4), SEEN, 0.0) == SEEN, "it has begun again since"


def test_what_all_have_counted_is_added_whatever_its_age() -> None:
    found = heard(*(said(age=age) for age in (0.0, 0.5, 2.9, 30.0, 59.0)))
    total = found.added("m", promotion(), SEEN, 0.0)
    assert total.here == SEEN.here + SEEN.here + SEEN.here + SEEN.here + SEEN.here + SEEN.here
    assert total.recent is not None and SEEN.recent is not None
    assert total.recent[0].requests == 4 * SEEN.recent[0].requests, "of the last seconds, what is as fresh"


@pytest.mark.parametrize(("age", "later", "fresh"), [(1.0, 0.0, True), (1.0, 2.5, False), (10.0, 0.0, False)])
def test_of_a_server_that_is_silent_the_last_seconds_and_its_canary_do_not_count(
    age: float, later: float, *, fresh: bool
) -> None:
    total = heard(said(FAILING, age), at=7.0).added("m", promotion(), Sides(), 7.0 + later)
    assert total.here.failing == int(fresh)
    assert (total.recent is not None) is fresh
    assert total.here.requests == 10


def test_what_is_too_old_counts_no_more() -> None:
    found = heard(said(age=10.0))
    assert found.added("m", promotion(), SEEN, KEPT_SECONDS - 10.0).here == SEEN.here + SEEN.here
    assert found.added("m", promotion(), SEEN, KEPT_SECONDS - 9.0) == SEEN


def test_who_cannot_be_read_is_told_and_the_others_count() -> None:
    found = heard(Told(0.0, b"{"), said(), Told(0.0, b"[]"))
    assert [each[0] for each in found.bad] == ["0", "2"]
    assert found.added("m", promotion(), SEEN, 0.0) == SEEN + SEEN


def pairs(files: str, compared: int = 3) -> Pairs:
    counts = {"compared": compared, "primary_failed": 0, "shadow_failed": 0, "both_failed": 0, "disagreement": 0.5}
    cells = {"latency_primary": [0] * len(EDGES), "latency_shadow": [1] * len(EDGES)}
    return Pairs(essence(counts | cells), None, {}, files)


def test_pairs_of_a_shadow_are_added_where_the_files_are_those_of_this_server() -> None:
    key, other = ("m", "2", "3"), ("other", "2", "3")
    told = {
        name: Told(1.0, evidence.encoded({}, {key: pairs(files), other: pairs(files)}))
        for name, files in (("a", "one two"), ("b", "one two"), ("c", "one three"))
    }
    found = gathered(told, {}, {key: pairs("one two")}, 0.0)
    (total,) = found.of_shadow(key, "one two", 0.0)
    assert (total.total["compared"], total.total["disagreement"]) == (6, 1.0)
    assert found.of_shadow(key, "one three", 0.0) == []
    assert found.of_shadow(other, "one two", 0.0) == [], "this server has no such shadow"
    assert found.of_shadow(key, "one two", KEPT_SECONDS + 1) == []


def test_what_is_kept_takes_no_more_memory_however_much_the_store_holds() -> None:
    forged = said(SEEN, 1.0, **{"m": promotion(), **{f"m{number:02}": promotion() for number in range(5)}})
    heard(forged)  # what is imported and cached once
    tracemalloc.start()
    try:
        once = heard(forged)
        before = tracemalloc.get_traced_memory()[0]
        many = heard(*[forged] * 12)
        kept, peak = (each - before for each in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert once.steps.keys() == many.steps.keys() == {"m"}
    assert kept < 4 << 20
    assert peak < 24 << 20
