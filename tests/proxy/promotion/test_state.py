"""Which version has which share, and what has been done."""

import pytest

from modelward.promotion import state
from modelward.promotion.state import Event, Promotion, State

STEPPING = Promotion(version="3", before={"2": 1}, configured=None, steps=(1, 10, 100), since=1.5)
BEGUN = Event(at=1.5, model="m", version="3", what="1 %")


@pytest.mark.parametrize(
    ("promotion", "shares"),
    [
        (STEPPING, {"2": 9900, "3": 100}),
        (STEPPING.model_copy(update={"step": 1}), {"2": 9000, "3": 1000}),
        (STEPPING.model_copy(update={"step": 2}), {"3": 10_000}),
        (STEPPING.model_copy(update={"phase": "done", "step": 2}), {"3": 10_000}),
        (STEPPING.model_copy(update={"phase": "rolled back"}), {"2": 1}),
        (STEPPING.model_copy(update={"before": {"1": 30, "2": 60, "3": 10}}), {"1": 3300, "2": 6600, "3": 100}),
        (STEPPING.model_copy(update={"before": {"1": 0, "2": 5}}), {"2": 9900, "3": 100}),
        (STEPPING.model_copy(update={"before": {"1": 1, "2": 1_000_000}}), {"1": 1, "2": 9899, "3": 100}),
    ],
)
def test_a_step_gives_its_share_and_leaves_the_rest_to_the_others_as_they_were(
    promotion: Promotion, shares: dict[str, int]
) -> None:
    assert promotion.shares == shares


def test_events_are_bounded_and_the_newest_stay() -> None:
    kept = State()
    for i in range(state.MOST_EVENTS + 5):
        kept = kept.with_promotion("m", STEPPING, BEGUN.model_copy(update={"at": float(i)}))
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
    back = begun.with_promotion("m", STEPPING.model_copy(update={"phase": "rolled back"}), BEGUN)
    assert back.may_answer == {"m": {"2": "sha256:b"}}
    assert back.approved == APPROVED.approved, "its number still stands for its files"
    other = back.with_promotion("m", STEPPING.model_copy(update={"version": "4", "phase": "rolled back"}), BEGUN)
    assert other.may_answer == {"m": {"2": "sha256:b"}}
    assert State.model_validate_json(other.model_dump_json()).may_answer == other.may_answer
    assert other.with_promotion("m", STEPPING, BEGUN).may_answer == APPROVED.approved


def test_a_share_that_a_version_had_before_its_promotion_is_given_back() -> None:
    back = STEPPING.model_copy(update={"before": {"2": 9, "3": 1}, "phase": "rolled back"})
    assert APPROVED.with_promotion("m", back, BEGUN).may_answer == APPROVED.approved


def test_without_approvals_nothing_is_kept_of_what_was_taken_back() -> None:
    back = State().with_promotion("m", STEPPING.model_copy(update={"phase": "rolled back"}), BEGUN)
    assert (back.may_answer, back.taken_back) == (None, {})


def test_what_no_approval_was_asked_for_is_written_as_before_there_were_any() -> None:
    kept = State().with_promotion("m", STEPPING, BEGUN)
    written = kept.model_dump(mode="json")
    assert not {"approved", "taken_back"} & written.keys()
    assert "proposal" not in written["promotions"]["m"]
    assert State.model_validate_json(kept.model_dump_json()) == kept
    approved = kept.model_copy(update={"approved": {"m": {"3": "sha256:3"}}, "taken_back": {"m": ("2",)}})
    by_proposal = STEPPING.model_copy(update={"proposal": 7})
    approved = approved.with_promotion("m", by_proposal, BEGUN)
    assert State.model_validate_json(approved.model_dump_json()) == approved
