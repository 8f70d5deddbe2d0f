"""Which version has which share, and what has been done."""

import pytest
from msgspec import structs

from modelward.promotion import state
from modelward.promotion.state import Event, Promotion, State
from modelward.records import plain, read, written

STEPPING = Promotion(version="3", before={"2": 1}, configured=None, steps=(1, 10, 100), since=1.5)
BEGUN = Event(at=1.5, model="m", version="3", what="1 %")


@pytest.mark.parametrize(
    ("promotion", "shares"),
    [
        (STEPPING, {"2": 9900, "3": 100}),
        (structs.replace(STEPPING, step=1), {"2": 9000, "3": 1000}),
        (structs.replace(STEPPING, step=2), {"3": 10_000}),
        (structs.replace(STEPPING, phase="done", step=2), {"3": 10_000}),
        (structs.replace(STEPPING, phase="rolled back"), {"2": 1}),
        (structs.replace(STEPPING, before={"1": 30, "2": 60, "3": 10}), {"1": 3300, "2": 6600, "3": 100}),
        (structs.replace(STEPPING, before={"1": 0, "2": 5}), {"2": 9900, "3": 100}),
        (structs.replace(STEPPING, before={"1": 1, "2": 1_000_000}), {"1": 1, "2": 9899, "3": 100}),
    ],
)
def test_a_step_gives_its_share_and_leaves_the_rest_to_the_others_as_they_were(
    promotion: Promotion, shares: dict[str, int]
) -> None:
    assert promotion.shares == shares


def test_events_are_bounded_and_the_newest_stay() -> None:
    kept = State()
    for i in range(state.MOST_EVENTS + 5):
        kept = kept.with_promotion("m", STEPPING, structs.replace(BEGUN, at=float(i)))
    assert len(kept.events) == state.MOST_EVENTS
    assert kept.events[-1].at == state.MOST_EVENTS + 4


def test_reloads_leave_promotions_their_place() -> None:
    kept = State().with_promotion("m", STEPPING, BEGUN)
    for i in range(state.MOST_EVENTS):
        kept = kept.with_event(Event(at=float(i), what="reload", actor="SIGHUP"))
    assert len(kept.events) == state.MOST_NOTES + 1
    assert kept.events[0] == BEGUN
    assert kept.events[-1].at == state.MOST_EVENTS - 1


def test_a_promotion_takes_the_place_of_what_answered_until_then() -> None:
    kept = State().with_serving({"m": "2", "n": "1"}, BEGUN).with_promotion("m", STEPPING, BEGUN)
    assert kept.serving == {"n": "1"}
    assert kept.events == (BEGUN, BEGUN)


APPROVED = State(approved={"m": {"2": "sha256:b", "3": "sha256:c"}})


def test_a_version_that_was_taken_back_may_not_answer_until_it_is_promoted_again() -> None:
    begun = APPROVED.with_promotion("m", STEPPING, BEGUN)
    assert begun.may_answer == APPROVED.approved
    back = begun.with_promotion("m", structs.replace(STEPPING, phase="rolled back"), BEGUN)
    assert back.may_answer == {"m": {"2": "sha256:b"}}
    assert back.approved == APPROVED.approved, "its number still stands for its files"
    other = back.with_promotion("m", structs.replace(STEPPING, version="4", phase="rolled back"), BEGUN)
    assert other.may_answer == {"m": {"2": "sha256:b"}}
    assert read(State, written(other)).may_answer == other.may_answer
    assert other.with_promotion("m", STEPPING, BEGUN).may_answer == APPROVED.approved


def test_a_share_that_a_version_had_before_its_promotion_is_given_back() -> None:
    back = structs.replace(STEPPING, before={"2": 9, "3": 1}, phase="rolled back")
    assert APPROVED.with_promotion("m", back, BEGUN).may_answer == APPROVED.approved


def test_without_approvals_nothing_is_kept_of_what_was_taken_back() -> None:
    back = State().with_promotion("m", structs.replace(STEPPING, phase="rolled back"), BEGUN)
    assert (back.may_answer, back.taken_back) == (None, {})


def test_what_no_approval_was_asked_for_is_written_as_before_there_were_any() -> None:
    kept = State().with_promotion("m", STEPPING, BEGUN)
    fields = plain(kept)
    assert not {"approved", "taken_back"} & fields.keys()
    assert "proposal" not in fields["promotions"]["m"]
    assert read(State, written(kept)) == kept
    approved = structs.replace(kept, approved={"m": {"3": "sha256:3"}}, taken_back={"m": ("2",)})
    by_proposal = structs.replace(STEPPING, proposal=7)
    approved = approved.with_promotion("m", by_proposal, BEGUN)
    assert read(State, written(approved)) == approved
