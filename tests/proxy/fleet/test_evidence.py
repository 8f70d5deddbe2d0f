"""What servers have counted, as others read it: the same counts, added up where they are of one step."""

from __future__ import annotations

import json
import zlib
from base64 import b85encode

import pytest

from modelward.fleet import evidence
from modelward.fleet.record import Malformed
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
def test_what_cannot_be_read_is_refused(fault: dict[str, object]) -> None:
    whole = json.loads(evidence.encoded({"m": (promotion(), SEEN)}))
    whole["steps"]["m"]["here"] |= fault
    with pytest.raises(Malformed):
        evidence.decoded(json.dumps(whole).encode())


def test_of_models_that_are_not_asked_for_nothing_is_unpacked() -> None:
    whole = json.loads(evidence.encoded({"m": (promotion(), SEEN)}))
    whole["steps"]["other"] = whole["steps"]["m"] | {"here": {"tallies": packed(b"\0" * 8)}}
    data = json.dumps(whole).encode()
    assert evidence.decoded(data, {"m"}).steps.keys() == {"m"}
    assert not evidence.decoded(shadow(), (), ()).shadows


def test_a_record_of_more_models_than_any_server_tells_of_is_refused() -> None:
    step = json.loads(evidence.encoded({"m": (promotion(), Sides())}))["steps"]["m"]
    steps = {f"m{number}": step for number in range(evidence.MOST_MODELS + 1)}
    with pytest.raises(Malformed, match="length"):
        evidence.decoded(json.dumps({"steps": steps}).encode())
