"""Files that were approved on another server: when they are approved here too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from modelward.approvals.approved import Approved
from modelward.approvals.book import Book
from modelward.approvals.elsewhere import agreed
from modelward.approvals.objections import file_of
from modelward.approvals.proposal import Ask
from modelward.audit.record import ITSELF
from tests.proxy.approvals.test_book import ADA, BOB, EVE, LIFE, approval, person

FILES = {"configuration": b"new", "m/model.yaml": b"same"}
ASK = Ask(verb="reload", digest="sha256:new")
WAITING: Any = SimpleNamespace(digest=ASK.digest, files=SimpleNamespace(texts=FILES))
BEFORE = Approved(digest="sha256:old", texts={"configuration": "old", "m/model.yaml": "same"})


def proposed(book: Book | None = None) -> Book:
    return (book or Book()).proposed(ASK, ADA, 0.0, seconds=LIFE, needed=1, person=person)


def found(book: Book, approved: Approved = BEFORE, now: float = 50.0, replica: str = "b") -> int:
    proposal = agreed(book, WAITING, approved, now, life=LIFE, replica=replica)
    return proposal.number if proposal is not None else 0


EXECUTING = proposed().approved(1, approval(BOB, 10.0), person).placed(1, "a")
DONE = EXECUTING.executed(1, 11.0)


@pytest.mark.parametrize("book", [EXECUTING, DONE])
def test_what_another_server_executes_or_has_executed_is_approved_here(book: Book) -> None:
    assert found(book) == 1


def test_what_is_open_rejected_failed_or_of_other_files_is_not() -> None:
    books = [Book(), proposed(), proposed().rejected(1, BOB, 1.0, "no"), EXECUTING.executed(1, 11.0, "it failed")]
    other = Book().proposed(Ask(verb="reload", digest="sha256:other"), ITSELF, 0.0, seconds=LIFE, needed=0,
                            person=person)  # fmt: skip
    assert [found(each) for each in [*books, other.approved(1, approval(BOB), person)]] == [0] * 5


def test_what_this_server_is_about_to_do_is_not_done_twice() -> None:
    assert (found(EXECUTING, replica="a"), found(DONE, replica="a")) == (0, 1)


def test_glass_is_broken_on_one_server_alone() -> None:
    assert found(Book().broken(ASK, EVE, 10.0, number=5).placed(5, "a").executed(5, 11.0)) == 0


def test_an_approval_does_not_hold_longer_than_a_signature() -> None:
    assert [found(DONE, now=10.0 + LIFE + after) for after in (-1.0, 0.0)] == [1, 0]


def test_the_last_word_on_the_files_counts() -> None:
    again = proposed(DONE)
    assert (found(again), found(again.rejected(2, BOB, 20.0, "no"))) == (0, 0)


def test_what_other_files_have_replaced_in_the_fleet_needs_another_approval() -> None:
    later = Ask(verb="reload", digest="sha256:later")
    book = DONE.proposed(later, ADA, 12.0, seconds=LIFE, needed=1, person=person)
    assert (found(book), found(book.rejected(2, BOB, 13.0, "no"))) == (1, 1)
    book = book.approved(2, approval(BOB, 13.0), person).placed(2, "a").executed(2, 14.0)
    assert found(book) == 0
    again = proposed(book).approved(3, approval(BOB, 15.0), person).placed(3, "a")
    assert (found(again), found(again.executed(3, 16.0))) == (3, 3)


def test_files_that_others_have_replaced_here_since_need_another_approval() -> None:
    for name, at, wanted in (("configuration", 20.0, 0), ("configuration", 5.0, 1), ("m/model.yaml", 20.0, 1)):
        replaced = {file_of(name, FILES[name]): at}
        assert found(DONE, structs.replace(BEFORE, replaced=replaced)) == wanted
    assert found(DONE, structs.replace(BEFORE, dropped=20.0)) == 0
