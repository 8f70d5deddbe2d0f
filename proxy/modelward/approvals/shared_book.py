"""The book of proposals as the store of a fleet has it: one document of all servers. Values, no clock and no store."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator
from math import isfinite
from typing import Any, TypeVar

from msgspec import structs

from modelward.approvals.book import ALONE, MOST_ENDED, Book, refusal
from modelward.approvals.objections import MOST_CLAIMS, Objections
from modelward.approvals.proposal import Ask, Proposal
from modelward.fleet.record import LARGEST_TIME, Malformed
from modelward.fleet.store import LARGEST_DOCUMENT
from modelward.records import read, written

T = TypeVar("T", Ask, Book, Proposal)

NAME = "proposals"
LARGEST_TEXT = 8 << 20
"""Bytes of a document once it is unpacked."""
LONGEST_LINE = 64
LARGEST_NUMBER = (1 << 32) - 1
TWICE = "the store had lost its data, and number {} was given twice; look whether it was done, and propose it again"
FEW_ENDED = 50
FEW_OBJECTIONS = 100


def encoded(book: Book, line: str) -> tuple[Book, bytes]:
    """With the book as others read it: what is no more needed is left out where it would be too long, and then diffs of
    what is open, which only signatures approve then. line: of the document, which is another one once the store has
    lost what it had. Raises ProblemsFound."""
    for fitting in _shorter(book):
        data = zlib.compress(b"%b\n%b" % (line.encode(), written(fitting, defaults=False)), 6)
        if len(data) <= LARGEST_DOCUMENT:
            return fitting, data
    how = "Review, reject or withdraw what waits: modelward proposals"
    raise refusal(0, f"the proposals of the fleet take more than {LARGEST_DOCUMENT >> 10} KiB", how)


def decoded(data: bytes) -> tuple[Book, str]:
    """And the line of the document. Raises Malformed."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, LARGEST_TEXT)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise Malformed("it is too long, or not whole")
        line, _, rest = text.partition(b"\n")
        if not 0 < len(line) <= LONGEST_LINE or not line.isalnum():
            raise Malformed("it begins with no line")
        book = read(Book, rest)
        for each in book.proposals:
            json.dumps(each.ask.verdict, allow_nan=False)
    except (ValueError, zlib.error, RecursionError) as error:
        raise Malformed(str(error)) from error
    numbers = [each.number for each in book.proposals]
    if len({*numbers}) < len(numbers) or not all(0 < each <= LARGEST_NUMBER for each in (*numbers, book.last + 1)):
        raise Malformed("numbers of proposals are none")
    if any(number > book.last for number in numbers if number < ALONE):
        raise Malformed("a proposal is newer than the last one")
    for each in book.proposals:
        approved = [approval.at for approval in (*each.approvals, each.reviewed) if approval is not None]
        times = (each.at, each.since, each.expires, *approved)
        if not (all(0 <= at <= LARGEST_TIME for at in times) and isfinite(each.ask.parameters.seconds)):
            raise Malformed("a time is out of range")
    return book, line.decode()


def joined(one: Book, other: Book) -> Book:
    """Of two books that have gone on apart, as after a store has lost what it had: of each proposal what has come
    further, and each objection. Of two with one number the earlier one keeps it. The other one has ended, under another
    number: who has seen it under this one must not approve what they have not seen."""
    found: dict[int, Proposal] = {}
    late: list[Proposal] = []
    for each in sorted((*one.proposals, *other.proposals), key=lambda each: (each.at, repr(each))):
        there = found.get(each.number)
        if there is None or _is_same(there, each):
            found[each.number] = _further(each, there)
        elif not (each.is_over or any(_is_same(each, known) for known in late)):
            late.append(each)
    last = max(one.last, other.last)
    for each in late:
        if not any(_is_same(each, known) for known in found.values()):
            last += 1
            state = "void" if each.state == "open" else "failed"
            found[last] = _with(each, number=last, state=state, why=TWICE.format(each.number))
    proposals = tuple(sorted(found.values(), key=lambda each: (each.at, each.number)))
    objections = _both(one.objections, other.objections)
    return _bounded(Book(last=last, proposals=proposals, objections=objections), MOST_ENDED)


def with_untold(book: Book, untold: Collection[Proposal]) -> Book:
    """With what this server has done, or finished, while it could not tell the others."""
    known = {each.number: each for each in book.proposals}
    for each in untold:
        there = known.get(each.number)
        if there is None:
            book = _with_alone(book, each) if each.number >= ALONE else book
        elif (further := _further(each, there)) is not there:
            book = book.with_(further)
            if further.state == "done" and not further.break_glass:
                book = _with(book, objections=book.objections.without(there.ask.files))
    return book


def _is_same(one: Proposal, other: Proposal) -> bool:
    """Whether it is one proposal, whatever has become of it."""
    return one.at == other.at and one.ask.is_as(other.ask)


def _further(one: Proposal, other: Proposal | None) -> Proposal:
    return one if other is None or _order(one) > _order(other) else other


def _order(proposal: Proposal) -> tuple[bool, bool, bool, int, str]:
    """A total order, so that all servers choose the same."""
    state = (proposal.is_over, proposal.state == "executing", proposal.reviewed is not None)
    return *state, len(proposal.approvals), repr(proposal)


def _both(one: Objections, other: Objections) -> Objections:
    rejected = {**one.rejected}
    for file, at in other.rejected.items():
        rejected[file] = max(at, rejected.get(file, at))
    claims = tuple(dict.fromkeys((*one.claims, *other.claims)))[-MOST_CLAIMS:]
    by_time = dict(sorted(rejected.items(), key=lambda each: each[1]))
    return Objections(rejected=by_time, dropped=max(one.dropped, other.dropped), claims=claims)


def _shorter(book: Book) -> Iterator[Book]:
    """The book, and with less and less of what it can do without."""
    yield book
    book = _with(book, proposals=tuple(_bare(each) if each.is_over else each for each in book.proposals))
    yield book
    yield _bounded(book, FEW_ENDED)
    book = _bounded(book, 0)
    yield book
    book = _with(book, proposals=tuple(map(_bare, book.proposals)))
    yield book
    yield _with(book, objections=_few(book.objections))


def _bare(proposal: Proposal) -> Proposal:
    """Without what nobody can approve it without having seen."""
    ask = proposal.ask
    return _with(proposal, ask=_with(ask, diff=(), verdict=None, cut=ask.cut or bool(ask.diff)))


def _few(objections: Objections) -> Objections:
    rejected = [*objections.rejected.items()]
    dropped = max([objections.dropped, *(at for _, at in rejected[:-FEW_OBJECTIONS])])
    return Objections(
        rejected=dict(rejected[-FEW_OBJECTIONS:]), dropped=dropped, claims=objections.claims[-FEW_OBJECTIONS:]
    )


def _with_alone(book: Book, proposal: Proposal) -> Book:
    """With what a server did without asking the others. What is open for the same is void."""
    void = {"state": "void", "since": proposal.at, "why": f"{proposal.by.name} did it by breaking the glass"}
    before = (_with(each, **void) if each.state == "open" and each.ask.is_as(proposal.ask) else each
              for each in book.proposals)  # fmt: skip
    return _with(book, proposals=(*before, proposal))


def _bounded(book: Book, most: int) -> Book:
    """With so many of those that have ended, the latest."""
    ended = [each.number for each in book.proposals if each.is_over and not each.is_unreviewed]
    gone = {*ended[: max(0, len(ended) - most)]}
    return _with(book, proposals=tuple(each for each in book.proposals if each.number not in gone))


def _with(record: T, **changes: Any) -> T:
    return structs.replace(record, **changes)


def placed(proposal: Proposal, on: str, number: int = 0) -> Proposal:
    """As one that this server of the fleet has to do with. number: another one, 0 for its own."""
    return _with(proposal, on=on, number=number or proposal.number)
