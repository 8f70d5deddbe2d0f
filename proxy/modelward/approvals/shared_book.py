"""The book of proposals as the store of a fleet has it: one document of all servers. Values, no clock and no store."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from msgspec import structs

from modelward.approvals.book import (
    ALONE,
    LARGEST_NUMBER,
    MOST_ENDED,
    MOST_OPEN,
    MOST_UNREVIEWED,
    Book,
    following,
    latest,
    refusal,
)
from modelward.approvals.faults import fault_of, faults
from modelward.approvals.objections import MOST_CLAIMS, Objections
from modelward.approvals.proposal import Ask, Proposal
from modelward.audit.record import LONGEST_TEXT
from modelward.fleet.record import Malformed
from modelward.fleet.store import LARGEST_DOCUMENT
from modelward.records import read, written

T = TypeVar("T", Ask, Book, Proposal)

NAME = "proposals"
LARGEST_TEXT = 8 << 20
"""Bytes of a document once it is unpacked."""
MOST = 2 * (MOST_OPEN + MOST_ENDED + MOST_UNREVIEWED)
"""Proposals of a document: of two books that are joined."""
LONGEST_LINE = 64
TWICE = "the store had lost its data, and number {} was given twice; look whether it was done, and propose it again"
FEW_ENDED = 50
FEW_OBJECTIONS = 100

log = logging.getLogger("modelward.approvals")


def encoded(book: Book, line: str) -> tuple[Book, bytes]:
    """With the book as others read it: what is no more needed is left out where it would be too long, and then diffs of
    what is open, which only signatures approve then. line: of the document, which is another one once the store has
    lost what it had. Raises ProblemsFound."""
    for fitting in _shorter(book):
        if len(fitting.proposals) > MOST:
            continue
        text = b"%b\n%b" % (line.encode(), written(fitting, defaults=False))
        data = zlib.compress(text, 6)
        if len(data) <= LARGEST_DOCUMENT and len(text) <= LARGEST_TEXT:
            return fitting, data
    how = "Review, reject or withdraw what waits: modelward proposals"
    raise refusal(0, f"the proposals of the fleet take more than {LARGEST_DOCUMENT >> 10} KiB, or are over {MOST}", how)


def decoded(data: bytes) -> tuple[Book, str]:
    """And the line of the document. Raises Malformed. What comes of it can be shown and followed without a check."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, LARGEST_TEXT)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise Malformed("it is too long, or not whole")
        line, _, rest = text.partition(b"\n")
        if not 0 < len(line) <= LONGEST_LINE or not line.isalnum():
            raise Malformed("it begins with no line")
        book = read(Book, rest)
    except (ValueError, zlib.error, RecursionError) as error:
        raise Malformed(str(error)) from error
    if len(book.proposals) > MOST:
        raise Malformed(f"it has more than {MOST} proposals")
    if fault := fault_of(book):
        raise Malformed(fault)
    return book, line.decode()


def joined(one: Book, other: Book) -> Book:
    """Of two books that have gone on apart, as after a store has lost what it had: of each proposal what has come
    further, and each objection. Of two with one number the earlier one keeps it. The other one has ended, under another
    number: who has seen it under this one must not approve what they have not seen."""
    found: dict[int, Proposal] = {}
    late: dict[tuple[object, ...], Proposal] = {}
    for each in sorted((*one.proposals, *other.proposals), key=lambda each: (each.at, repr(each))):
        there = found.get(each.number)
        if there is None or _essence(there) == _essence(each):
            found[each.number] = _further(each, there)
        elif not each.is_over:
            late.setdefault(_essence(each), each)
    last, known = latest(one.last, other.last), {*map(_essence, found.values())}
    for essence, each in late.items():
        if essence not in known:
            last = following(last, found)
            state = "void" if each.state == "open" else "failed"
            found[last] = _with(each, number=last, state=state, why=TWICE.format(each.number))
    proposals = tuple(sorted(found.values(), key=lambda each: (each.at, each.number)))
    objections = _both(one.objections, other.objections)
    return Book(last=last, proposals=proposals, objections=objections).bounded()


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


def mended(book: Book) -> Book:
    """What was kept here, with numbers of its own and without what no other server would read."""
    bad = {each.number: why for each in book.proposals if (why := faults(each))}
    for number, why in bad.items():
        log.error("proposal %d is none, and is left out: %s", number, why)
    whole = tuple(each for each in book.proposals if each.number not in bad)
    last = book.last
    if not 0 <= last <= LARGEST_NUMBER:
        last = max((each.number for each in whole if each.number < ALONE), default=0)
        log.error("the last proposal has number %d, which none can have: the next one has %d", book.last, last + 1)
    if not bad and last == book.last and len({each.number for each in whole}) == len(whole):
        return book
    return joined(_with(book, last=last, proposals=whole), Book())


def _essence(proposal: Proposal) -> tuple[object, ...]:
    """Of one proposal, whatever has become of it."""
    return proposal.at, proposal.ask.essence


def _further(one: Proposal, other: Proposal | None) -> Proposal:
    return one if other is None or _order(one) > _order(other) else other


def _order(proposal: Proposal) -> tuple[bool, bool, bool, bool, int, str]:
    """A total order, so that all servers choose the same. What was done was done, whatever another server says."""
    of = proposal.state
    state = (proposal.is_over, of == "done", of == "executing", proposal.reviewed is not None)
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
    yield book.bounded(FEW_ENDED)
    book = book.bounded(0)
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
    why = f"{proposal.by.name} did it by breaking the glass"[:LONGEST_TEXT]
    void = {"state": "void", "since": proposal.at, "why": why}
    before = (_with(each, **void) if each.state == "open" and each.ask.is_as(proposal.ask) else each
              for each in book.proposals)  # fmt: skip
    return _with(book, proposals=(*before, proposal))


def _with(record: T, **changes: Any) -> T:
    return structs.replace(record, **changes)


def placed(proposal: Proposal, on: str, number: int = 0) -> Proposal:
    """As one that this server of the fleet has to do with. number: another one, 0 for its own."""
    return _with(proposal, on=on, number=number or proposal.number)
