"""Files that were signed while no server ran: what a running server would refuse counts at no start either."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.approvals.at_start import agreed, asked
from modelward.approvals.book import ALONE, Book
from modelward.approvals.proposal import Approval, Ask
from modelward.approvals.rules import rules_of
from modelward.approvals.store import Store
from modelward.audit.record import ITSELF, Actor
from modelward.config.fleet import Fleet
from modelward.config.schema import Config

DIGEST = "sha256:" + "1" * 64
FILES = ("configuration sha256:2",)
ASK = Ask(verb="reload", digest=DIGEST)
CONFIG = Config.model_validate({
    "listen": {"admin": "unix:/run/a.sock"},
    "operators": {"bindings": [{"user": 1, "roles": ["approver"]}]},
    "approvals": {"reload": 1, "people": {"ada": ["ada@example.com"]}},
})  # fmt: skip
ADA, BOB = Actor(name="ada"), Actor(name="bob")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def waiting(store: Store, by: Actor = ITSELF, rules: str | None = None) -> Book:
    """One proposal of these files, at time 0."""
    rules = rules_of(CONFIG, ASK) if rules is None else rules
    book = Book().proposed(ASK, by, 0.0, seconds=100.0, needed=1, person=str, rules=rules)
    store.save(book)
    return book


def signed_by(store: Store, *names: str, now: float = 10.0) -> bool:
    return agreed(store.file.parent, asked(DIGEST, FILES), lambda objections, asked: names, CONFIG, now)


def test_one_signature_is_enough_for_files_that_nobody_has_seen(store: Store) -> None:
    assert signed_by(store, "bob")
    (proposal,) = store.load().proposals
    assert (proposal.state, proposal.approvers, proposal.by) == ("executing", ("bob",), ITSELF)


def test_the_operator_who_has_claimed_a_change_does_not_approve_it_under_any_name(store: Store) -> None:
    waiting(store, by=ADA)
    assert not signed_by(store, "ada")
    assert not signed_by(store, "ada@example.com")
    assert store.load().find(1).state == "open"
    assert signed_by(store, "ada", "bob")
    assert store.load().find(1).approvers == ("bob",)


@pytest.mark.parametrize("end", ["rejected", "withdrawn", "expired", "failed"])
def test_what_is_decided_no_signature_opens_again(store: Store, end: str) -> None:
    book = waiting(store, by=ADA)
    match end:
        case "rejected":
            book = book.rejected(1, BOB, 5.0, "no")
        case "withdrawn":
            book = book.withdrawn(1, ADA, 5.0, "", str)
        case "failed":
            book = book.approved(1, Approval(by=BOB, at=5.0), str).executed(1, 6.0, "it did not work")
    store.save(book)
    assert not signed_by(store, "bob", now=200.0)
    assert store.load() == book


def test_approvals_that_were_given_before_count_too(store: Store) -> None:
    store.save(waiting(store).approved(1, Approval(by=ADA, at=5.0), str))
    assert not signed_by(store, "ada")
    assert signed_by(store, "bob")


def test_a_proposal_under_other_rules_is_void_and_a_new_one_counts(store: Store) -> None:
    waiting(store, by=ADA, rules="sha256:of other operators")
    assert signed_by(store, "bob")
    assert [each.state for each in store.load().proposals] == ["void", "executing"]


def test_files_that_were_followed_and_replaced_are_proposed_again(store: Store) -> None:
    store.save(waiting(store, by=ADA).approved(1, Approval(by=BOB, at=5.0), str).executed(1, 6.0))
    assert signed_by(store, "bob")
    assert [each.state for each in store.load().proposals] == ["done", "executing"]


def test_signatures_are_judged_by_what_was_rejected_and_claimed_and_by_whether_an_operator_has_proposed_the_files(
    store: Store,
) -> None:
    told: list[tuple[object, bool]] = []

    def count() -> bool:
        ask = asked(DIGEST, FILES)
        return agreed(store.file.parent, ask, lambda *given: told.append(given) or (), CONFIG, 10.0)

    other = Ask(verb="reload", digest="sha256:3", files=FILES)
    book = Book().proposed(other, ITSELF, 0.0, seconds=100.0, needed=1, person=str).rejected(1, BOB, 5.0, "no")
    store.save(book)
    assert not count()
    store.save(book.proposed(ASK, ADA, 6.0, seconds=100.0, needed=1, person=str))
    assert not count()
    assert told == [(book.objections, False), (book.objections, True)]
    assert book.objections.after(FILES[0], asked=True) == 5.0
    assert store.load().open, "nothing has changed"


def test_in_a_fleet_which_is_not_asked_at_a_start_the_number_is_none_of_the_fleets(store: Store) -> None:
    config = CONFIG.model_copy(update={"fleet": Fleet(url="redis://10.0.0.7")})
    store.save(Book(last=7))
    assert agreed(store.file.parent, asked(DIGEST, FILES), lambda objections, asked: ("bob",), config, 10.0)
    book = store.load()
    assert [(each.number >= ALONE, each.state, each.approvers) for each in book.proposals] == [
        (True, "executing", ("bob",))
    ]
    assert book.last == 7
