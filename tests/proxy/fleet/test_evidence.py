"""What servers have counted, as others read it: the same counts, added up where they are of one step."""

from __future__ import annotations

import json
import zlib
from base64 import b85encode

import pytest

from modelward.fleet import evidence
from modelward.fleet.record import Malformed
from modelward.fleet.store import Told
from modelward.promotion.guard import NOTHING, Arm
from modelward.promotion.step import Sides
from tests.proxy.fleet.test_record import promotion
from tests.proxy.promotion.arms import by_caller, caller


def some(count: int, failed: int = 0) -> Arm:
    return by_caller(*[caller(count, failed)] * 5)


SEEN = Sides(some(100, 5), some(900), some(10), NOTHING, (some(3, 3), some(30)))


def test_counts_are_read_as_they_were_told() -> None:
    found = evidence.decoded(evidence.encoded({"m": (promotion(), SEEN)}))
    step, sides = found.steps["m"]
    assert (step.version, step.began, step.step) == ("3", 1, 0)
    assert sides == SEEN


def test_a_server_tells_nothing_where_nothing_is_promoted() -> None:
    assert evidence.encoded({}) == b""


@pytest.mark.parametrize(("began", "step", "counts"), [(1, 0, True), (2, 0, False), (1, 1, False)])
def test_only_what_is_of_the_same_step_is_added(began: int, step: int, *, counts: bool) -> None:
    data = evidence.encoded({"m": (promotion(began, 2, step=step), SEEN)})
    found, bad = evidence.read({"b": Told(1.0, data)})
    others = [(age, *of.steps["m"]) for age, of in found.values()]
    total = evidence.added("m", promotion(1, 1), SEEN, others)
    assert bad == []
    assert total.here.requests == (2 if counts else 1) * SEEN.here.requests
    assert (total == SEEN + SEEN) is counts


def test_of_a_server_that_is_silent_the_last_seconds_and_its_canary_do_not_count() -> None:
    failing = Arm(10, 0, 0, NOTHING.latency, failing=1)
    gone = Sides(failing, some(10), recent=(some(3), some(3)))
    step, seen = evidence.decoded(evidence.encoded({"m": (promotion(), gone)})).steps["m"]
    fresh = evidence.added("m", promotion(), Sides(), [(1.0, step, seen)])
    late = evidence.added("m", promotion(), Sides(), [(10.0, step, seen)])
    assert (fresh.here.failing, late.here.failing) == (1, 0)
    assert fresh.recent is not None and late.recent is None
    assert late.here.requests == fresh.here.requests == 10


def shadow(**change: object) -> bytes:
    whole = {"model": "m", "primary": "2", "name": "3", "total": {"compared": 3, "latency_primary": [5, 1, 2]}}
    return json.dumps({"shadows": [whole | change]}).encode()


def test_sums_over_pairs_are_read_from_their_first_cell() -> None:
    (pairs,) = evidence.decoded(shadow()).shadows.values()
    assert (pairs.total["compared"], pairs.total["latency_primary"][4:8]) == (3, [0, 1, 2, 0])


@pytest.mark.parametrize(
    "change",
    [
        {"total": {"latency_primary": [300, 1]}},
        {"total": {"latency_primary": [1 << 40]}},
        {"total": {"latency_primary": [0] * 1000}},
        {"total": {"compared": -1}},
        {"total": {"disagreement": -0.5}},
        {"callers": {"64": {}}},
        {"callers": {"-1": {}}},
        {"callers": {"x": {}}},
        {"callers": {str(part): {} for part in range(65)}},
    ],
)
def test_pairs_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        evidence.decoded(shadow(**change))


def packed(data: bytes) -> str:
    return b85encode(zlib.compress(data)).decode()


FAULTS = {
    "too few counts": {"tallies": packed(b"\0" * 8)},
    "far too many counts": {"by_latency": packed(b"\0" * (1 << 24))},
    "counts below nothing": {"tallies": packed(b"\xff" * (2 * 64 * 4 * 8))},
    "nothing compressed": {"tallies": "abcde"},
    "no base85": {"tallies": '"""'},
    "too many cells": {"latency": [1] * 1000},
    "a count below nothing": {"requests": -1},
    "a count that is none": {"requests": "many"},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_read_is_told_and_the_others_count(fault: dict[str, object]) -> None:
    good = evidence.encoded({"m": (promotion(), SEEN)})
    whole = json.loads(good)
    whole["steps"]["m"]["here"] |= fault
    bad = json.dumps(whole).encode()
    with pytest.raises(Malformed):
        evidence.decoded(bad)
    found, told = evidence.read({"b": Told(0.0, bad), "c": Told(0.0, good), "d": Told(0.0, b"{")})
    assert found.keys() == {"c"}
    assert [each[0] for each in told] == ["b", "d"]
