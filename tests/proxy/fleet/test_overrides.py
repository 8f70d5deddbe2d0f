"""Overrides that a fleet shares: the later word counts on all servers, and what is none is refused."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.config.rate_limit import Limit
from modelward.fleet.overrides import (
    MOST,
    MOST_KNOWN,
    Entry,
    OfLimit,
    believable,
    bounded,
    decoded,
    encoded,
    joined,
    said,
)
from modelward.fleet.record import Malformed

LIMIT = OfLimit(rate="1/h", burst=1)


def limit(name: str = "m", at: float = 1.0, until: float = 100.0, *, ended: bool = False) -> Entry:
    return Entry(kind="model", name=name, limit=LIMIT, at=at, until=until, by="alice", reason="why", ended=ended)


ENTRIES = st.builds(
    limit, st.sampled_from("mn"), st.floats(0, 3), st.sampled_from([50.0, 100.0, 200.0]), ended=st.booleans()
)
KNOWN = st.lists(ENTRIES, max_size=4).map(lambda each: {entry.key: entry for entry in each})


@given(KNOWN, KNOWN, KNOWN)
def test_all_servers_come_to_the_same_whatever_they_hear_first(a: dict, b: dict, c: dict) -> None:  # type: ignore[type-arg]
    one = joined(joined(a, b, 10.0), c, 10.0)
    other = joined(c, joined(b, a, 10.0), 10.0)
    assert one == other == joined(one, a, 10.0)


def test_the_later_word_counts_and_what_was_ended_does_not_come_back() -> None:
    older, ended = limit(at=1.0), limit(at=2.0, ended=True)
    known = joined({older.key: older}, {ended.key: ended}, 10.0)
    assert joined(known, {older.key: older}, 10.0) == known
    assert known[ended.key].ended
    assert joined(known, {}, 100.0) == {}, "its time is over"


def test_an_older_word_that_would_hold_longer_does_not_come_back_when_the_later_one_is_over() -> None:
    older, shorter = limit(at=1.0, until=100.0), limit(at=2.0, until=50.0)
    known = joined({older.key: older}, {shorter.key: shorter}, 10.0)
    late = joined(known, {older.key: older}, 60.0)
    assert late[older.key].until == 50.0


def test_entries_are_read_as_they_were_written() -> None:
    breaker = Entry(kind="breaker", name="m", endpoint="10.0.0.1:1", state="open", at=1.5, until=2.5)
    known = {each.key: each for each in (limit(), breaker)}
    assert decoded(encoded(known)) == known


def test_no_more_are_written_than_are_read() -> None:
    many = {entry.key: entry for entry in (limit(f"{number}{'x' * 900}") for number in range(2 * MOST))}
    assert 0 < len(decoded(encoded(many))) <= MOST


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "model", "name": "m", "until": 5.0},
        {"kind": "breaker", "name": "m", "until": 5.0},
        {"kind": "breaker", "name": "m", "state": "open", "until": 5.0, "limit": {"rate": "1/h", "burst": 1}},
        {"kind": "model", "name": "m", "until": 5.0, "limit": {"burst": 1}},
        {"kind": "model", "name": "m", "until": 5.0, "limit": {"rate": "1/h", "time": "1s/s", "burst": 1}},
        {"kind": "model", "name": "m", "until": 5.0, "limit": {"rate": "1/h", "burst": "1s"}},
        {"kind": "model", "name": "m", "until": 5.0, "limit": {"rate": "1/h", "burst": 0}},
        {"kind": "model", "name": "m", "until": 5.0, "limit": {"rate": "1/h", "burst": 2**31}},
        {"kind": "model", "name": "m", "until": 5.0, "limit": {"time": "1s/s", "burst": 1}},
        {"kind": "model", "name": "m", "until": 5.0, "limit": {"rate": "1/h", "other": 1}},
        {"kind": "model", "name": "m", "until": 5.0, "limit": {"rate": "-1/h", "burst": 1}},
        {"kind": "model", "name": "m\n", "until": 5.0, "limit": {"rate": "1/h", "burst": 1}},
        {"kind": "model", "name": "m" * 2000, "until": 5.0, "limit": {"rate": "1/h", "burst": 1}},
        {"kind": "other", "name": "m", "until": 5.0},
        {"kind": "model", "name": "m", "until": 1e300, "limit": {"rate": "1/h", "burst": 1}},
        {"kind": "model", "name": "m", "until": 5.0, "at": 1e300, "limit": {"rate": "1/h", "burst": 1}},
        {"kind": "model", "name": "m", "until": 5.0, "stays": -1, "limit": {"rate": "1/h", "burst": 1}},
    ],
)
def test_an_entry_of_nothing_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        decoded(json.dumps({"entries": [entry]}).encode())


@pytest.mark.parametrize(
    ("told", "held"),
    [
        ({"rate": "60/m", "burst": 3}, {"rate": "1/s", "burst": 3}),
        ({"rate": "100/s"}, {"rate": "100/s", "burst": 10}),
        ({"time": "2s/s", "burst": "1000ms"}, {"time": "2s/s", "burst": "1s"}),
    ],
)
def test_a_limit_is_the_same_however_another_server_has_written_it(
    told: dict[str, object], held: dict[str, object]
) -> None:
    entry = {"kind": "model", "name": "m", "until": 5.0}
    data = json.dumps({"entries": [entry | {"limit": told}]}).encode()
    (found,) = decoded(data).values()
    assert found.limit == OfLimit(**held)
    limit = Limit.model_validate(told)
    assert found.limit.limit.native == limit.native
    assert OfLimit.of(limit) == found.limit


UNITS = st.sampled_from("smh")
NUMBERS = st.floats(4, 1e6).map("{:.6f}".format)


@given(st.builds("{}/{}".format, NUMBERS, UNITS) | st.builds("{}ms/{}".format, NUMBERS, UNITS))
def test_what_holds_after_a_limit_was_heard_is_that_limit(text: str) -> None:
    heard = OfLimit(**{"time" if "ms" in text else "rate": text})
    held = OfLimit.of(heard.limit)
    assert OfLimit.of(held.limit) == held, "otherwise it would be followed again at every look"


@given(st.binary(max_size=100))
def test_any_bytes_are_entries_or_refused(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        decoded(data)


@pytest.mark.parametrize(("at", "until", "holds"), [(0.0, 600.0, True), (9e4, 9e4 + 600, False), (0.0, 1e6, False)])
def test_a_word_from_the_future_or_for_longer_than_any_may_hold_is_none(
    at: float, until: float, *, holds: bool
) -> None:
    now = 1e9
    entry = limit(at=now + at, until=now + until)
    assert (believable({entry.key: entry}, now) == {entry.key: entry}) is holds


def test_what_is_said_now_is_later_than_what_it_takes_the_place_of_whatever_the_clocks() -> None:
    ahead = limit(at=5000.0)
    assert said(limit(), ahead, 1000.0).at > ahead.at
    assert said(limit(), limit(at=5.0), 1000.0).at == said(limit(), None, 1000.0).at == 1000.0


def test_no_more_is_remembered_than_a_bound_and_what_holds_here_is() -> None:
    mine = limit("mine", until=2.0)
    many = {each.key: each for each in (limit(f"m{number}", until=100.0 + number) for number in range(2 * MOST_KNOWN))}
    kept = bounded({**many, mine.key: mine}, {mine.key: mine})
    assert len(kept) == MOST_KNOWN
    assert mine.key in kept
    assert ("model", f"m{2 * MOST_KNOWN - 1}", "") in kept
    assert bounded({mine.key: mine}, {}) == {mine.key: mine}
