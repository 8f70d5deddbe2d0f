"""The rules of proposals: no order of asking, approving, rejecting, waiting and crashing gets around four eyes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from msgspec import structs

from modelward.approvals.book import (
    LARGEST_NUMBER,
    MOST_ENDED,
    MOST_OF_ONE,
    MOST_OPEN,
    MOST_UNREVIEWED,
    Book,
    latest,
)
from modelward.approvals.proposal import Approval, Ask, Proposal
from modelward.audit.record import ITSELF, Actor
from modelward.problem import ProblemsFound
from modelward.records import read, written

ADA, BOB, EVE = (Actor(name=name, proof="certificate") for name in ("ada", "bob", "eve"))
ADA_BY_TOKEN = Actor(name="ada", proof="token", issuer="https://issuer")
ADA_AT_HOME = Actor(name="ada@home", proof="socket")
PEOPLE = {"ada@home": "ada"}
EVERYBODY = (ADA, BOB, EVE, ADA_BY_TOKEN, ADA_AT_HOME)
LIFE = 100.0


def person(name: str) -> str:
    return PEOPLE.get(name, name)


def ask(version: int = 2, **fields: Any) -> Ask:
    return Ask(verb="promote", model="m", version=str(version), digest=f"sha256:{version}", **fields)


def opened(by: Actor = ADA, needed: int = 1, now: float = 0.0) -> Book:
    return Book().proposed(ask(), by, now, seconds=LIFE, needed=needed, person=person)


def approval(by: Actor, at: float = 1.0) -> Approval:
    return Approval(by=by, at=at, reason="looks good")


def only(book: Book) -> Proposal:
    (proposal,) = book.proposals
    return proposal


def test_another_operator_approves_and_then_it_is_executed_once() -> None:
    book = opened().approved(1, approval(BOB), person)
    assert (only(book).state, only(book).approvers) == ("executing", ("bob",))
    with pytest.raises(ProblemsFound, match="it is executing"):
        book.approved(1, approval(EVE), person)
    done = book.executed(1, 2.0)
    assert only(done).state == "done"
    for again in (lambda: done.approved(1, approval(EVE), person), lambda: done.executed(1, 3.0)):
        with pytest.raises(ProblemsFound, match="it is done"):
            again()


@pytest.mark.parametrize("who", [ADA, ADA_BY_TOKEN, ADA_AT_HOME])
def test_nobody_approves_what_they_proposed_whatever_proves_their_name(who: Actor) -> None:
    with pytest.raises(ProblemsFound, match="has proposed it"):
        opened().approved(1, approval(who), person)


@pytest.mark.parametrize("who", [ADA, ADA_BY_TOKEN, ADA_AT_HOME])
def test_nobody_approves_twice(who: Actor) -> None:
    book = opened(BOB, needed=2).approved(1, approval(ADA), person)
    assert only(book).state == "open"
    with pytest.raises(ProblemsFound, match="has approved it already"):
        book.approved(1, approval(who), person)
    assert only(book.approved(1, approval(EVE), person)).state == "executing"


def test_what_has_expired_or_is_void_or_rejected_is_not_approved() -> None:
    with pytest.raises(ProblemsFound, match="it has expired"):
        opened().approved(1, approval(BOB, at=LIFE), person)
    ended = [opened().expired(LIFE), opened().voided(1, 1.0, "another file"), opened().rejected(1, BOB, 1.0, "no")]
    for book, state in zip(ended, ("expired", "void", "rejected"), strict=True):
        with pytest.raises(ProblemsFound, match=f"it is {state}"):
            book.approved(1, approval(BOB), person)


@pytest.mark.parametrize("who", [ADA, ADA_BY_TOKEN, ADA_AT_HOME])
def test_who_has_proposed_it_withdraws_it_while_it_waits(who: Actor) -> None:
    book = opened(needed=2).approved(1, approval(BOB), person).withdrawn(1, who, 2.0, "not needed", person)
    assert (only(book).state, only(book).why, only(book).ended_by) == ("withdrawn", "not needed", who.name)
    for late in (
        lambda: book.approved(1, approval(EVE), person),
        lambda: book.withdrawn(1, who, 3.0, "again", person),
    ):
        with pytest.raises(ProblemsFound, match="it is withdrawn: not needed"):
            late()


def test_nobody_withdraws_what_another_or_the_server_has_proposed_or_what_is_executing() -> None:
    with pytest.raises(ProblemsFound, match="ada has proposed it"):
        opened().withdrawn(1, BOB, 1.0, "no", person)
    with pytest.raises(ProblemsFound, match="modelward has proposed it"):
        opened(ITSELF).withdrawn(1, Actor(name=ITSELF.name, proof="certificate"), 1.0, "no", person)
    with pytest.raises(ProblemsFound, match="it is executing"):
        opened().approved(1, approval(BOB), person).withdrawn(1, ADA, 2.0, "no", person)
    with pytest.raises(ProblemsFound, match="it has expired"):
        opened().withdrawn(1, ADA, LIFE, "no", person)


def test_an_open_proposal_is_not_made_again_and_a_number_never_comes_twice() -> None:
    book = opened()
    with pytest.raises(ProblemsFound, match="it asks for the same"):
        book.proposed(ask(), BOB, 1.0, seconds=LIFE, needed=1, person=person)
    book = book.rejected(1, BOB, 1.0, "no").proposed(ask(), BOB, 2.0, seconds=LIFE, needed=1, person=person)
    assert [each.number for each in book.proposals] == [1, 2]
    lost = structs.replace(book, proposals=())
    with pytest.raises(ProblemsFound, match="ended long ago"):
        lost.find(1)
    with pytest.raises(ProblemsFound, match="there is no such proposal"):
        lost.find(3)


def test_one_operator_keeps_no_other_from_proposing_and_the_book_stays_small() -> None:
    book = Book()
    for version in range(MOST_OF_ONE):
        book = book.proposed(ask(version), ADA, 0.0, seconds=LIFE, needed=1, person=person)
    with pytest.raises(ProblemsFound, match="proposals of ada@home are open"):
        book.proposed(ask(99), ADA_AT_HOME, 0.0, seconds=LIFE, needed=1, person=person)
    for version in range(MOST_OF_ONE, MOST_OPEN):
        book = book.proposed(ask(version), Actor(name=f"n{version}"), 0.0, seconds=LIFE, needed=1, person=person)
    with pytest.raises(ProblemsFound, match=f"{MOST_OPEN} proposals are open"):
        book.proposed(ask(99), BOB, 0.0, seconds=LIFE, needed=1, person=person)
    for _ in range(MOST_ENDED + 10):
        book = (
            book.expired(LIFE)
            .proposed(ask(), BOB, LIFE, seconds=LIFE, needed=1, person=person)
            .rejected(book.last + 1, ADA, LIFE, "no")
        )
    assert len(book.proposals) == MOST_ENDED


def test_broken_glass_waits_for_the_review_of_another_and_is_kept_until_then() -> None:
    book = Book().broken(ask(reason="incident 8"), ADA, 0.0).executed(1, 1.0)
    assert [each.number for each in book.unreviewed] == [1]
    with pytest.raises(ProblemsFound, match="ada has done it"):
        book.reviewed(1, approval(ADA_BY_TOKEN), person)
    for _ in range(MOST_ENDED + 1):
        book = book.proposed(ask(), BOB, 0.0, seconds=LIFE, needed=1, person=person).rejected(
            book.last + 1, ADA, 0.0, "no"
        )
    book = book.reviewed(1, approval(BOB), person)
    assert not book.unreviewed
    with pytest.raises(ProblemsFound, match="was not done by breaking the glass"):
        book.reviewed(book.last, approval(BOB), person)


def test_glass_does_not_break_for_ever_without_a_review() -> None:
    book = Book()
    for number in range(1, MOST_UNREVIEWED + 1):
        book = book.broken(ask(), ADA, 0.0).executed(number, 0.0)
    with pytest.raises(ProblemsFound, match="wait for a review"):
        book.broken(ask(), ADA, 0.0)


class FourEyes(RuleBasedStateMachine):
    """Random operators at random times, with crashes: the book is read from its JSON again."""

    numbers = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.now = 0.0
        self.done: Counter[int] = Counter()
        self.seen: dict[int, Proposal] = {}

    @rule(target=numbers, version=st.integers(1, 3), by=st.sampled_from(EVERYBODY), needed=st.integers(1, 3))
    def propose(self, version: int, by: Actor, needed: int) -> Any:
        try:
            self.book = self.book.proposed(ask(version), by, self.now, seconds=LIFE, needed=needed, person=person)
        except ProblemsFound:
            return multiple()
        return self.book.last

    @rule(number=numbers, by=st.sampled_from(EVERYBODY))
    def approve(self, number: int, by: Actor) -> None:
        before = self.book
        try:
            self.book = before.approved(number, approval(by, self.now), person)
        except ProblemsFound:
            assert self.book is before
            return
        was, now = before.find(number), self.book.find(number)
        assert was.state == "open"
        assert was.at <= self.now < was.expires
        assert now.approvals[:-1] == was.approvals

    @rule(number=numbers, by=st.sampled_from(EVERYBODY))
    def reject(self, number: int, by: Actor) -> None:
        try:
            self.book = self.book.rejected(number, by, self.now, "no")
        except ProblemsFound:
            assert self.book.find(number).state != "open" or self.book.find(number).expires <= self.now

    @rule(number=numbers, by=st.sampled_from(EVERYBODY))
    def withdraw(self, number: int, by: Actor) -> None:
        before = self.book
        try:
            self.book = before.withdrawn(number, by, self.now, "no", person)
        except ProblemsFound:
            assert self.book is before
            return
        assert before.find(number).state == "open"
        assert person(before.find(number).by.name) == person(by.name)

    @rule(seconds=st.floats(0, LIFE))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.book = self.book.expired(self.now)
        assert all(each.expires > self.now for each in self.book.open)

    @rule(number=consumes(numbers), failed=st.booleans())
    def execute(self, number: int, failed: bool) -> None:
        try:
            self.book = self.book.executed(number, self.now, "no such version" if failed else "")
        except ProblemsFound:
            assert self.book.find(number).state != "executing"
            return
        self.done[number] += 1

    @rule()
    def crash(self) -> None:
        self.book = read(Book, written(self.book, defaults=False))

    @invariant()
    def no_proposal_is_executed_without_others(self) -> None:
        for each in self.book.proposals:
            people = {person(name) for name in each.approvers}
            assert person(each.by.name) not in people
            assert len(people) == len(each.approvals)
            if each.state in ("executing", "done", "failed"):
                assert len(people) == each.needed
            assert self.done[each.number] == (each.state in ("done", "failed"))

    @invariant()
    def nothing_changes_once_it_is_over(self) -> None:
        for number, before in self.seen.items():
            assert self.book.find(number) == before
        self.seen |= {each.number: each for each in self.book.proposals if each.is_over}


TestFourEyes = FourEyes.TestCase
TestFourEyes.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_diff_that_was_cut_is_approved_by_a_signature_only() -> None:
    book = Book().proposed(ask(cut=True), ADA, 0.0, seconds=LIFE, needed=1, person=person)
    with pytest.raises(ProblemsFound, match="its diff is too long to be shown whole"):
        book.approved(1, approval(BOB), person)
    signed = structs.replace(approval(BOB), signed=True)
    assert only(book.approved(1, signed, person)).state == "executing"


def found() -> Book:
    """Files that the server has found changed."""
    changed = Ask(verb="reload", digest="sha256:1")
    return Book().proposed(changed, ITSELF, 0.0, seconds=LIFE, needed=1, person=person)


def test_files_that_no_operator_has_claimed_need_one_approver_more() -> None:
    once = found().approved(1, approval(BOB), person)
    assert (only(once).state, only(once).missing) == ("open", 1), "bob may have changed them"
    assert only(once.approved(1, approval(EVE), person)).state == "executing"
    with pytest.raises(ProblemsFound, match="bob has approved it already"):
        once.claimed(1, ADA, 1.0, "")


def test_files_that_an_operator_has_claimed_or_an_approver_has_signed_need_no_more() -> None:
    claimed = found().claimed(1, ADA, 1.0, "more streams")
    with pytest.raises(ProblemsFound, match="ada has proposed it"):
        claimed.approved(1, approval(ADA), person)
    assert only(claimed.approved(1, approval(BOB), person)).state == "executing"
    signed = structs.replace(approval(BOB), signed=True)
    assert only(found().approved(1, signed, person)).state == "executing"


def test_what_has_just_ended_or_been_reviewed_is_told_however_many_ended_after_it() -> None:
    book = opened().broken(ask(3), EVE, 0.0).executed(2, 1.0)
    for number in range(3, MOST_ENDED + 3):
        book = book.proposed(ask(number + 1), EVE, 2.0, seconds=LIFE, needed=1, person=person)
        book = book.rejected(number, BOB, 3.0, "no")
    assert book.rejected(1, BOB, 4.0, "no").find(1).state == "rejected"
    assert book.reviewed(2, approval(BOB), person).find(2).reviewed is not None
    later = book.rejected(1, BOB, 4.0, "no").reviewed(2, approval(BOB), person)
    assert sum(each.is_over for each in later.proposals) == MOST_ENDED


def test_after_the_largest_number_comes_the_first_one_that_is_free() -> None:
    book = structs.replace(opened(), last=LARGEST_NUMBER)
    assert [book.next, Book(last=LARGEST_NUMBER - 1).next, Book().next] == [2, LARGEST_NUMBER, 1]
    after = book.proposed(ask(3), EVE, 0.0, seconds=LIFE, needed=1, person=person)
    assert (after.last, [each.number for each in after.proposals]) == (2, [1, 2])
    assert [latest(2, LARGEST_NUMBER), latest(LARGEST_NUMBER, 2), latest(5, 4), latest(0, 4)] == [2, 2, 5, 4]
    assert latest(0, LARGEST_NUMBER) == latest(LARGEST_NUMBER, 0) == LARGEST_NUMBER


def test_what_ended_first_is_left_out_first_whatever_was_proposed_first() -> None:
    book = opened().proposed(ask(3), EVE, 0.0, seconds=LIFE, needed=1, person=person)
    book = book.rejected(2, BOB, 1.0, "no").rejected(1, BOB, 2.0, "no")
    assert [each.number for each in book.bounded(1).proposals] == [1]
