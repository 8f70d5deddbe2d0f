"""What the book tells of requests that were under way when the server ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from modelward.approvals.book import Book
from modelward.approvals.outcome import DONE, NOT_DONE, outcome_of
from modelward.approvals.proposal import Approval
from modelward.audit.record import ITSELF, Actor, human
from modelward.audit.unanswered import UNKNOWN
from tests.proxy.approvals.test_book import ADA, BOB, EVE, ask

LIFE = 3600.0


def asked(verb: str, by: Actor, number: int | None = 1) -> dict[str, Any]:
    """As it is read from the trail."""
    return dict(json.loads(human(verb, by, result="asked", proposal=number).encoded(7)))


def same(name: str) -> str:
    return name


def opened() -> Book:
    return Book().proposed(ask(), ADA, 0.0, seconds=LIFE, needed=1, person=same)


def approved() -> Book:
    return opened().approved(1, Approval(by=BOB, at=1.0), same)


def glass() -> Book:
    return Book().broken(ask(), ADA, 0.0).executed(1, 1.0)


@pytest.mark.parametrize(
    ("book", "verb", "by", "told"),
    [
        (Book, "proposal.open", ADA, NOT_DONE),
        (opened, "proposal.open", ADA, DONE),
        (opened, "proposal.approve", BOB, NOT_DONE),
        (approved, "proposal.approve", BOB, DONE),
        (approved, "proposal.approve", EVE, NOT_DONE),
        (opened, "proposal.reject", BOB, NOT_DONE),
        (lambda: opened().rejected(1, BOB, 1.0, ""), "proposal.reject", BOB, DONE),
        (lambda: opened().rejected(1, BOB, 1.0, ""), "proposal.reject", EVE, NOT_DONE),
        (lambda: opened().withdrawn(1, ADA, 1.0, "", same), "proposal.withdraw", ADA, DONE),
        (lambda: opened().withdrawn(1, ADA, 1.0, "", same), "proposal.reject", ADA, NOT_DONE),
        (opened, "proposal.claim", BOB, NOT_DONE),
        (opened, "proposal.claim", ADA, DONE),
        (glass, "proposal.break_glass", ADA, DONE),
        (glass, "proposal.review", BOB, NOT_DONE),
        (lambda: glass().reviewed(1, Approval(by=BOB, at=2.0), same), "proposal.review", BOB, DONE),
        (approved, "promote", ADA, None),
        (lambda: approved().executed(1, 2.0), "promote", ADA, DONE),
        (
            lambda: approved().executed(1, 2.0, "version 2 is not served"),
            "promote",
            ADA,
            {"result": "failed", "reason": "version 2 is not served"},
        ),
    ],
)
def test_the_book_tells_what_came_of_it(book: Callable[[], Book], verb: str, by: Actor, told: object) -> None:
    assert outcome_of(book(), asked(verb, by)) == told


def test_what_the_book_does_not_hold_is_unknown() -> None:
    assert outcome_of(opened(), asked("drain", ADA, None)) == UNKNOWN
    assert outcome_of(Book(last=9), asked("proposal.approve", BOB, 4)) == UNKNOWN


def test_in_a_fleet_what_this_book_does_not_have_may_have_been_done_all_the_same() -> None:
    for book, verb, by, number in (
        (Book(), "proposal.open", ADA, 1),
        (opened(), "proposal.open", EVE, 1),
        (opened(), "proposal.approve", BOB, 1),
        (opened(), "promote", ADA, 2),
    ):
        assert outcome_of(book, asked(verb, by, number), shared=True) == UNKNOWN
    assert outcome_of(approved(), asked("proposal.approve", BOB), shared=True) == DONE


def test_a_proposal_of_another_operator_with_the_same_number_is_not_what_was_asked_for() -> None:
    assert outcome_of(opened(), asked("proposal.open", EVE)) == NOT_DONE
    assert outcome_of(opened(), asked("proposal.open", ITSELF)) == DONE, "which an operator has claimed since"
