"""Records of a fleet: which of two is obeyed, and that nothing in the store brings a server down."""

from __future__ import annotations

import contextlib
import functools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from modelward.fleet.record import Malformed, Record, applied, decoded, is_newer, record_of
from modelward.promotion import epochs
from modelward.promotion.state import Event, Promotion, State

EVENT = Event(at=1.0, model="m", version="3", what="25 %")


def promotion(began: int = 1, epoch: int = 1, phase: str = "stepping", step: int = 0) -> Promotion:
    values = {"version": "3", "before": {"2": 1}, "configured": None, "steps": (25, 100), "since": 5.0}
    return Promotion(**values, began=began, epoch=epoch, phase=phase, step=step)


def state_of(each: Promotion) -> State:
    return State().with_promotion("m", each, EVENT)


PROMOTIONS = st.builds(
    promotion,
    st.integers(1, 3),
    st.integers(3, 6),
    st.sampled_from(["stepping", "done", "rolled back"]),
    st.integers(0, 1),
)


@given(st.lists(PROMOTIONS, min_size=1, max_size=4), st.randoms())
def test_all_servers_come_to_the_same_promotion_whichever_they_hear_of_first(
    met: list[Promotion], random: object
) -> None:
    found = []
    for _ in range(3):
        random.shuffle(met)  # type: ignore[attr-defined]
        state = State()
        for each in met:
            state = applied(state, "m", Record(promotion=each, event=EVENT))
        found.append(state.promotions["m"])
    newest = max(met, key=functools.cmp_to_key(lambda one, other: is_newer(one, other) - is_newer(other, one)))
    assert found == [newest] * 3


@given(PROMOTIONS, PROMOTIONS)
def test_a_rollback_is_undone_by_no_step_of_its_promotion(one: Promotion, other: Promotion) -> None:
    out = structs.replace(one, phase="rolled back")
    if other.phase != "rolled back" and other.began <= out.began:
        assert is_newer(out, other)


def test_a_later_promotion_is_obeyed_though_the_one_before_was_taken_back_elsewhere() -> None:
    assert is_newer(promotion(began=4, epoch=4), promotion(began=1, epoch=9, phase="rolled back"))


def test_what_a_server_has_promoted_before_it_was_in_a_fleet_gives_way() -> None:
    assert is_newer(promotion(), promotion(began=0, epoch=0, phase="done"))


def test_a_record_is_read_as_it_was_written() -> None:
    state = structs.replace(state_of(promotion()), approved={"m": {"3": "sha256:00"}}, taken_back={"m": ("1",)})
    record = record_of("m", state, "a")
    assert decoded(record.encoded) == record
    assert applied(State(approved={}), "m", record).approved == {"m": {"3": "sha256:00"}}


def test_approvals_count_only_where_a_server_needs_them() -> None:
    record = record_of("m", structs.replace(state_of(promotion()), approved={"m": {"3": "sha256:00"}}), "a")
    assert applied(State(), "m", record).approved is None


def test_a_model_that_waits_is_answered_by_the_same_version_everywhere() -> None:
    record = record_of("m", State(serving={"m": "2"}), "a")
    assert applied(State(), "m", decoded(record.encoded)).serving == {"m": "2"}
    assert applied(state_of(promotion()), "m", record).serving == {}, "but not in the place of a promotion"


WHOLE = json.loads(record_of("m", state_of(promotion()), "a").encoded)
CHANGES = {
    "no step": {"step": 2},
    "a step before the first": {"step": -1},
    "no steps": {"steps": []},
    "more steps than there are shares": {"steps": [50] * 101},
    "a proposal without end": {"proposal": 1 << 62},
    "a step of nothing": {"steps": [0, 100]},
    "no epoch": {"epoch": 0},
    "an epoch before the beginning": {"epoch": 1, "began": 2},
    "an epoch without end": {"epoch": 1 << 60},
    "a weight below nothing": {"before": {"2": -1}},
    "the next epoch after the last": {"epoch": epochs.LARGEST + 1},
    "a time without end": {"since": 1e999},
    "a time that no calendar has": {"since": 1e300},
    "a time before all": {"since": -1e300},
    "no version": {"version": ""},
    "a name that is none": {"version": "3\n4"},
    "a long name": {"version": "3" * 1000},
    "another key": {"other": 1},
    "another phase": {"phase": "perhaps"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_record_with_a_fault_is_none(change: dict[str, object]) -> None:
    assert decoded(json.dumps(WHOLE).encode())
    with pytest.raises(Malformed):
        decoded(json.dumps(WHOLE | {"promotion": WHOLE["promotion"] | change}).encode())


@pytest.mark.parametrize("at", [1e300, -1e300, -1, 1e11])
def test_an_event_at_a_time_that_is_none_is_refused(at: float) -> None:
    with pytest.raises(Malformed):
        decoded(json.dumps(WHOLE | {"event": WHOLE["event"] | {"at": at}}).encode())


def test_digests_of_approved_versions_are_names_too() -> None:
    with pytest.raises(Malformed):
        decoded(json.dumps(WHOLE | {"approved": {"3": "x" * 1000}}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'"\\ud800"', b"[" * 100_000, b" " * (1 << 17)])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decoded(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_refused(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        decoded(data)
