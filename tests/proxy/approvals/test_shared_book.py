"""The book of a fleet as one document: what fits, what is no book, and what becomes of two that have gone on apart."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from modelward.approvals import shared_book
from modelward.approvals.book import ALONE, LARGEST_NUMBER, MOST_ENDED, Book
from modelward.approvals.objections import MOST_REJECTED, Objections
from modelward.approvals.proposal import Ask, Parameters, Proposal
from modelward.approvals.shared_book import MOST, NAME, decoded, encoded, joined, mended, placed, with_untold
from modelward.audit.record import ITSELF
from modelward.fleet.record import Malformed
from modelward.fleet.store import LARGEST_DOCUMENT
from modelward.problem import ProblemsFound
from modelward.records import written
from tests.proxy.approvals.test_book import ADA, BOB, EVE, LIFE, approval, ask, opened, person

LINE = "abc"
RANDOM = random.Random(1)
FINDING = {"name": "failures", "bound": {"least": 0, "most": 0.0}, "value": None, "low": 0.1, "high": None,
           "verdict": "undecided"}  # fmt: skip
VERDICT = {"verdict": "better", "primary": "1", "shadow": "2", "pairs": 7, "bounds": [FINDING], "latency_ms": {}}


def changed(lines: int, by: str = "1") -> Ask:
    """Of a configuration, with a diff that is hard to pack."""
    diff = tuple("".join(map(chr, RANDOM.choices(range(0x4E00, 0x9FFF), k=40))) for _ in range(lines))
    return Ask(verb="reload", digest=f"sha256:{by}", diff=diff, verdict=VERDICT)


def test_a_book_is_read_as_it_was_written() -> None:
    book = opened(needed=2).approved(1, approval(BOB), person).placed(1, "a")
    book = book.broken(ask(3), EVE, 2.0, number=ALONE + 7).rejected(1, EVE, 3.0, "no")
    assert (decoded(encoded(book, LINE)[1]), encoded(book, LINE)[0]) == ((book, LINE), book)


def test_what_has_ended_goes_first_where_it_does_not_fit_and_then_diffs_that_only_a_signature_approves() -> None:
    book = Book()
    for number in range(1, MOST_ENDED):
        book = book.proposed(changed(9, str(number)), ADA, 0.0, seconds=LIFE, needed=1, person=person)
        book = book.rejected(number, BOB, 1.0, "no")
    book = book.proposed(changed(300), ADA, 0.0, seconds=LIFE, needed=1, person=person)
    kept, data = encoded(book, LINE)
    assert (decoded(data)[0], len(data) <= LARGEST_DOCUMENT) == (kept, True)
    assert (kept.open, kept.last) == (book.open, book.last), "what is open is whole"
    assert {len(each.ask.diff) for each in kept.proposals if each.is_over} == {0}
    book = book.proposed(changed(700, "other"), ADA, 0.0, seconds=LIFE, needed=1, person=person)
    kept, data = encoded(book, LINE)
    assert len(data) <= LARGEST_DOCUMENT
    assert [(each.ask.diff, each.ask.cut) for each in kept.open] == [((), True)] * 2
    with pytest.raises(ProblemsFound, match="too long to be shown whole"):
        kept.approved(kept.last, approval(BOB), person)


def test_objections_that_are_kept_are_fewer_then_and_none_of_the_others_is_forgotten() -> None:
    files = [f"m{each}/model.yaml sha256:{random.Random(each).randbytes(32).hex()}" for each in range(MOST_REJECTED)]
    objections = Objections(rejected={file: float(at) for at, file in enumerate(files)}).with_claim(files, "ada")
    book = structs.replace(opened(), objections=objections)
    kept, data = encoded(book, LINE)
    assert len(data) <= LARGEST_DOCUMENT
    for at, file in enumerate(files):
        assert kept.objections.after(file, asked=True) >= at


def test_what_does_not_fit_at_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_book, "LARGEST_DOCUMENT", 100)
    with pytest.raises(ProblemsFound, match="take more than"):
        encoded(opened(), LINE)


def packed(text: bytes, line: str = LINE) -> bytes:
    return zlib.compress(f"{line}\n".encode() + text)


@pytest.mark.parametrize("data", [
    b"", b"{}", packed(b"{}", ""), packed(b"{}", "a b"), zlib.compress(b"{}"),
    packed(b"{}", "a" * 65), packed(b""), packed(b"[]"), packed(b'{"last": -5}'), packed(b'{"last": 1e99}'),
    packed(b"{}")[:-1],
    packed(b'{"last": 5000000000}'), packed(b" " * (shared_book.LARGEST_TEXT + 1)), packed(b"[" * 100_000),
    packed(b'{"last": 100000000}'),
    packed(written(opened()).replace(b'"number":1', b'"number":-1')),
    packed(written(opened()).replace(b'"expires":100.0', b'"expires":1e308').replace(b'"at":0.0', b'"at":NaN')),
    packed(written(structs.replace(opened(), proposals=opened().proposals * 2))),
])  # fmt: skip
def test_what_is_no_book_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decoded(data)


LONG = "x" * 3000


@pytest.mark.parametrize("fields", [
    {"needed": -1}, {"needed": 1 << 40}, {"number": 10 * ALONE}, {"on": "a\x1b"}, {"on": "a" * 300}, {"rules": LONG},
    {"since": -1.0}, {"expires": 1e300}, {"why": LONG}, {"approvals": (approval(BOB),) * 20},
    {"approvals": (approval(BOB, 1e99),)}, {"approvals": (structs.replace(approval(BOB), reason=LONG),)},
    {"reviewed": approval(BOB, -1.0)},
])  # fmt: skip
def test_one_field_that_is_none_makes_it_malformed_and_not_the_list_of_proposals(fields: dict[str, Any]) -> None:
    book = opened()
    with pytest.raises(Malformed):
        decoded(packed(written(structs.replace(book, proposals=(structs.replace(book.proposals[0], **fields),)))))


@pytest.mark.parametrize("fields", [
    {"verdict": {}}, {"verdict": {"verdict": 5}}, {"verdict": VERDICT | {"pairs": "x"}},
    {"verdict": VERDICT | {"bounds": [1]}}, {"verdict": VERDICT | {"bounds": [FINDING | {"bound": {}}]}},
    {"verdict": VERDICT | {"pairs": 2**2000}}, {"model": "m\n"}, {"reason": LONG},
    {"reason": "a\nb"}, {"diff": ("+ x\n+ y",)}, {"files": (LONG,)},
    {"parameters": Parameters(percent=(0, 1 << 70))}, {"parameters": Parameters(percent=(-1, 5))},
    {"parameters": Parameters(steps=(0,))}, {"parameters": Parameters(steps=(1,) * 101)},
    {"parameters": Parameters(seconds=1e300)}, {"parameters": Parameters(endpoint=LONG)},
])  # fmt: skip
def test_so_does_one_of_what_was_asked_for(fields: dict[str, Any]) -> None:
    (proposal,) = opened().proposals
    forged = structs.replace(proposal, ask=structs.replace(proposal.ask, **fields))
    with pytest.raises(Malformed):
        decoded(packed(written(structs.replace(opened(), proposals=(forged,)))))


@pytest.mark.parametrize("objections", [
    Objections(dropped=1e300), Objections(rejected={"x": -1.0}), Objections().with_claim([LONG], "ada"),
    Objections(rejected={str(each): 1.0 for each in range(3 * MOST_REJECTED)}),
])  # fmt: skip
def test_objections_that_are_none_make_it_malformed_too(objections: Objections) -> None:
    with pytest.raises(Malformed):
        decoded(packed(written(Book(objections=objections))))


def many(count: int, at: float) -> Book:
    ada = structs.replace(opened().proposals[0], by=ADA)
    made = (structs.replace(ada, number=each + 1, at=at + each, expires=8e9) for each in range(count))
    return Book(last=count, proposals=tuple(made))


def test_more_proposals_than_two_books_have_are_neither_read_nor_written() -> None:
    assert len(decoded(packed(written(many(MOST, 0.0))))[0].proposals) == MOST
    with pytest.raises(Malformed, match="more than"):
        decoded(packed(written(many(MOST + 1, 0.0))))
    with pytest.raises(ProblemsFound, match="take more than"):
        encoded(many(MOST + 1, 0.0), LINE)


def test_what_is_longer_than_others_read_once_it_is_unpacked_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book().proposed(changed(9), ADA, 0.0, seconds=LIFE, needed=1, person=person).rejected(1, BOB, 1.0, "no")
    monkeypatch.setattr(shared_book, "LARGEST_TEXT", 1500)
    kept, data = encoded(book, LINE)
    assert (kept.proposals[0].ask.diff, decoded(data)) == ((), (kept, LINE))


def test_joining_two_long_books_looks_at_each_proposal_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Counter[int]()
    essence = shared_book._essence

    def counted(proposal: Proposal) -> tuple[object, ...]:
        looks[proposal.number] += 1
        return essence(proposal)

    monkeypatch.setattr(shared_book, "_essence", counted)
    both = joined(many(300, 0.0), many(300, 1000.0))
    assert sum(each.state == "void" for each in both.proposals) == MOST_ENDED
    assert max(looks.values()) <= 6


def test_no_last_number_keeps_two_proposals_from_being_two() -> None:
    for last in (LARGEST_NUMBER, LARGEST_NUMBER - 1, 0):
        book = decoded(packed(written(structs.replace(opened(), last=last))))[0]
        for version in (5, 6, 7):
            book = book.proposed(ask(version), EVE, 0.0, seconds=LIFE, needed=1, person=person)
            book = decoded(encoded(book, LINE)[1])[0]
        numbers = [each.number for each in book.proposals]
        assert len({*numbers}) == 4 and all(0 < each < ALONE for each in numbers)
        assert joined(book, opened()).last == joined(opened(), book).last == book.last


def test_a_book_that_was_kept_with_numbers_that_others_do_not_read_is_mended() -> None:
    one, other = (structs.replace(opened().proposals[0], number=ALONE, at=at) for at in (0.0, 1.0))
    bad = structs.replace(one, number=9, needed=-1)
    book = mended(Book(last=(1 << 32) - 2, proposals=(*opened().proposals, one, other, bad)))
    assert [(each.number, each.state) for each in book.proposals] == [(1, "open"), (ALONE, "open"), (2, "void")]
    assert decoded(encoded(book, LINE)[1])[0] == book
    assert mended(book) is book


@given(st.binary(max_size=200))
def test_any_bytes_are_a_book_or_refused(data: bytes) -> None:
    for each in (data, packed(data)):
        try:
            assert isinstance(decoded(each)[0], Book)
        except Malformed:
            continue


def test_two_books_that_have_gone_on_apart_are_the_same_once_joined_and_nothing_is_lost() -> None:
    both = opened(needed=2).proposed(ask(3), EVE, 0.5, seconds=LIFE, needed=1, person=person)
    one = both.approved(1, approval(BOB), person).rejected(2, BOB, 2.0, "no")
    other = both.proposed(ask(4), ITSELF, 1.0, seconds=LIFE, needed=1, person=person).approved(2, approval(BOB), person)
    assert joined(one, other) == joined(other, one) == joined(joined(one, other), one)
    states = {each.number: (each.state, each.approvers) for each in joined(one, other).proposals}
    assert states == {1: ("open", ("bob",)), 2: ("rejected", ()), 3: ("open", ())}


def test_what_was_executed_on_one_side_is_executing_on_no_other() -> None:
    executing = opened().approved(1, approval(BOB), person)
    assert joined(executing.executed(1, 2.0), executing) == executing.executed(1, 2.0)
    assert joined(opened(), executing) == executing


def test_what_was_done_stays_done_whatever_another_server_says_of_it() -> None:
    executing = opened().approved(1, approval(BOB), person)
    done, failed = executing.executed(1, 9.0), executing.executed(1, 2.0, "the store has not answered")
    assert joined(done, failed) == joined(failed, done) == done
    assert (with_untold(done, failed.proposals), with_untold(failed, done.proposals)) == (done, done)


def test_objections_of_both_sides_stay() -> None:
    one, other = (Objections().with_rejected([file], at).with_claim([file], by) for file, at, by in
                  (("x", 1.0, "ada"), ("y", 2.0, "eve")))  # fmt: skip
    found = joined(Book(objections=one), Book(objections=other)).objections
    assert dict(found.rejected) == {"x": 1.0, "y": 2.0}
    assert {(each.file, each.by) for each in found.claims} == {("x", "ada"), ("y", "eve")}


def test_what_a_server_did_alone_is_added_once_and_ends_what_was_open_for_the_same() -> None:
    glass = Book().broken(ask(), EVE, 2.0, number=ALONE + 7).executed(ALONE + 7, 3.0).proposals[0]
    book = with_untold(opened(), [glass])
    assert [(each.number, each.state) for each in book.proposals] == [(1, "void"), (ALONE + 7, "done")]
    assert (with_untold(book, [glass]), book.last) == (book, 1)


def test_an_end_that_was_not_told_is_the_end_and_takes_objections_with_it() -> None:
    asked = Ask(verb="reload", digest="sha256:1", files=("configuration sha256:1",))
    book = Book().proposed(asked, ADA, 0.0, seconds=LIFE, needed=1, person=person)
    executing = book.approved(1, approval(BOB), person).placed(1, "b")
    done = executing.executed(1, 2.0)
    assert with_untold(executing, done.proposals) == done
    assert with_untold(done, executing.proposals) == done
    assert with_untold(Book(last=1), done.proposals) == Book(last=1), "it ended long ago"


def test_another_number_and_a_server_are_all_that_is_changed() -> None:
    (proposal,) = opened().proposals
    moved = placed(proposal, "b", ALONE)
    assert (moved.on, moved.number, placed(moved, "", 1)) == ("b", ALONE, proposal)
    assert NAME == "proposals"


def test_of_two_proposals_with_one_number_the_earlier_one_keeps_it_and_the_other_one_is_not_approved_by_mistake() -> (
    None
):
    early, late = opened(), Book().proposed(ask(3), EVE, 5.0, seconds=LIFE, needed=1, person=person)
    both = joined(early, late)
    assert both == joined(late, early) == joined(both, late) == joined(late, both) == joined(early, both)
    assert [(each.number, each.ask.version, each.state) for each in both.proposals] == [
        (1, "2", "open"),
        (2, "3", "void"),
    ]
    assert (both.last, "number 1 was given twice" in both.find(2).why) == (2, True)
    executing = joined(early, late.approved(1, approval(BOB, 6.0), person))
    assert (executing.find(1).state, executing.find(2).state) == ("open", "failed")
    assert joined(early, late.rejected(1, BOB, 6.0, "no")).proposals == early.proposals, "what is over is in the trail"
