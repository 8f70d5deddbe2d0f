"""The book of proposals that the servers of a fleet share: changed in the store first, by who has seen it as it is.

Broken glass happens on one server alone, and the store is told afterwards; so is the end of what was being executed
when the store was lost. All else is refused without the store. What is known here stays readable.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from secrets import randbelow, token_hex
from typing import Protocol

from modelward.approvals.book import ALONE, Book, refusal
from modelward.approvals.faults import faults
from modelward.approvals.kept import Change
from modelward.approvals.proposal import Proposal
from modelward.approvals.shared_book import NAME, decoded, encoded, joined, mended, placed, with_untold
from modelward.approvals.store import HOW, HOW_BROKEN, LARGEST_FILE, Store
from modelward.atomic_file import replace_file
from modelward.bounded_file import read_regular
from modelward.fleet.member import ATTEMPTS_UNTIL_GONE
from modelward.fleet.namesake import Namesake
from modelward.fleet.record import Malformed
from modelward.fleet.store import KEPT_SECONDS, Document, StoreError
from modelward.problem import Problem, ProblemsFound
from modelward.promotion import epochs
from modelward.records import Struct, read, written

UNTOLD = "proposals.untold.json"
ATTEMPTS = 8
"""Of a change, where other servers were first."""
HOW_ALONE = "Mend the store. --break-glass acts on the server that is asked, at once"

log = logging.getLogger("modelward.approvals")


class Shares(Protocol):
    """This server's part in the fleet (modelward.fleet.member). speaking: held while it speaks with the store."""

    replica: str
    speaking: asyncio.Lock
    unanswered: int
    namesake: Namesake

    @property
    def where(self) -> str: ...

    @property
    def up(self) -> bool | None: ...

    @property
    def leads(self) -> bool: ...

    def document(self, name: str) -> Document | None: ...

    async def put(self, name: str, before: int, epoch: int, data: bytes) -> Document | None: ...

    async def attempt(self) -> None: ...

    async def notes(self) -> Collection[str]: ...

    def wake(self) -> None: ...


class Untold(Struct, frozen=True, kw_only=True):
    """epoch, line: of the document that was seen last. proposals: that the store has to be told."""

    epoch: int = 0
    line: str = ""
    proposals: tuple[Proposal, ...] = ()


class SharedBook:
    """A keeper (modelward.approvals.kept) and a part of what a fleet shares (modelward.fleet.part). book: the store's,
    as it was heard of last, with what the store was not told yet."""

    name = NAME

    def __init__(self, member: Shares, store: Store, book: Book) -> None:
        """book: as it was kept here. Raises ProblemsFound."""
        self.replica = member.replica
        self.book = self._theirs = book = mended(book)
        self._member = member
        self._store = store
        self._file = store.file.with_name(UNTOLD)
        kept = self._read()
        self._joins = kept is None  # it was alone until now, or had no state
        self._epoch, self._line = (kept or Untold()).epoch, (kept or Untold()).line
        self._data = b""  # of the document that was seen last, as these
        self._base, self._base_line = 0, ""  # of what the store has now
        self._behind = False  # the store has lost what was known here
        self._malformed = ""
        self._missing: dict[str, float] = {}  # since when, monotonic seconds
        done_alone = [placed(each, self.replica) for each in book.executing if each.on in ("", self.replica)]
        self._untold = {each.number: each for each in (*done_alone, *(kept or Untold()).proposals)}
        self.begun = {each.number for each in (*book.executing, *self._untold.values())}
        self._has_heard = False

    # ---- as a keeper

    @property
    def is_doubtful(self) -> bool:
        return self._member.namesake.is_there

    @property
    def answers(self) -> bool:
        return bool(self._member.up) and not self._member.unanswered and not self._malformed

    @property
    def next(self) -> int:
        return self.book.next

    @property
    def next_alone(self) -> int:
        return ALONE + randbelow(9 * ALONE)

    async def refresh(self) -> None:
        """Not of a store that is gone: no operator waits for what is tried again all the time."""
        async with self._member.speaking:
            for _ in range(ATTEMPTS_UNTIL_GONE):
                if self._member.up is not False:
                    await self._member.attempt()
                if not self._member.unanswered:
                    return

    async def put(self, change: Change) -> None:
        await self._put(change)

    async def put_alone(self, change: Change) -> None:
        after = change(self.book)
        self._check_new(after)
        proposal = after.proposals[-1]
        self._untold[proposal.number] = proposal
        try:
            self._write()
        except OSError as error:
            del self._untold[proposal.number]
            why = error.strerror or str(error)
            raise ProblemsFound([Problem("proposals cannot be written", str(self._file), why, HOW)]) from error
        self._adopt(self._theirs)
        self._member.wake()

    async def keep(self, change: Change) -> bool:
        try:
            return await self._put(lambda book: _if_it_can(change, book))
        except ProblemsFound as found:
            known = {each.number: each for each in self.book.proposals}
            after = _if_it_can(change, self.book)
            ended = [each for each in after.proposals if each.is_over and not known.get(each.number, each).is_over]
            ended = [each for each in ended if known[each.number].state == "executing"]
            if not self.answers:  # what has failed here may be done meanwhile, by what looks after this server
                ended = [each for each in ended if each.state == "done" or each.break_glass]
            if not ended:  # what is open stays so
                return False
            log.warning("the fleet is told later how proposal %d has ended: %s", ended[0].number, found)
            self._untold |= {each.number: each for each in ended}
            self._adopt(self._theirs)
            self._try_to_write()
            return True

    async def save_again(self) -> None:
        return

    async def gone(self, servers: Collection[str]) -> Collection[str]:
        """Silent since they were forgotten, and as long once more: a store that has lost its data knows no server."""
        missing = set[str]()
        if self._member.leads and servers:
            try:
                missing = {*servers} - {*await self._member.notes()}
            except StoreError:
                return ()
        now = time.monotonic()
        self._missing = {each: self._missing.get(each, now) for each in missing}
        return [each for each, since in self._missing.items() if now - since >= KEPT_SECONDS]

    # ---- as a part of what is shared

    def look(self) -> None:
        return

    async def reconcile(self, data: bytes | None) -> bytes | None:
        """data: as `document` has it too. Writes by itself what is to be in the store. Raises Malformed, StoreError."""
        self._hear(self._member.document(NAME))
        if self._malformed:
            raise Malformed(self._malformed)
        if self._untold or self._behind:
            try:
                book, new = self._encoded(self.book)
            except ProblemsFound as found:
                raise Malformed(str(found)) from found
            if await self._swap(new) is None:
                self._told(book, new)
        return None

    # ---- how

    async def _put(self, change: Change) -> bool:
        """Whether it has changed anything."""
        async with self._member.speaking:
            for _ in range(ATTEMPTS):
                self._check()
                after = change(self.book)
                if after is self.book:
                    return False
                self._check_new(after)
                book, data = self._encoded(after)
                try:
                    there = await self._swap(data)
                except StoreError as error:
                    if await self._is_there(data):
                        return True
                    what = f"{self._member.where} has not answered, so it is not known whether this was done: {error}"
                    how = "Look at modelward proposals in a moment"
                    raise ProblemsFound([Problem(what, "proposals", how=how)]) from error
                if there is None:
                    self._told(book, data)
                    return True
                self._hear(there)
        what = "other servers of the fleet change proposals at the same time"
        raise ProblemsFound([Problem(what, "proposals", how="Ask again")])

    def _check(self) -> None:
        """Raises ProblemsFound where nothing can be decided."""
        where = self._member.where
        if not self._member.up:
            why = "proposals are those of the whole fleet; what is shown is what was known last"
            raise ProblemsFound([Problem(f"{where} cannot be reached", "proposals", why, HOW_ALONE)])
        if self._malformed:
            how = f"Mend or delete the document {NAME} there; --break-glass acts on the server that is asked"
            raise ProblemsFound([Problem(f"{where} has no proposals that can be read", NAME, self._malformed, how)])

    def _check_new(self, after: Book) -> None:
        """Raises ProblemsFound where other servers would not read what has changed."""
        known = {id(each) for each in self.book.proposals}
        for each in after.proposals:
            if id(each) not in known and (fault := faults(each)):
                raise refusal(each.number, fault, "Propose it otherwise")

    async def _is_there(self, data: bytes) -> bool:
        """Whether a change is in the store that was not confirmed."""
        await self._member.attempt()
        return bool(self._member.up) and self._data == data

    def _encoded(self, book: Book) -> tuple[Book, bytes]:
        self._next_line = self._base_line or token_hex(8)
        return encoded(book, self._next_line)

    async def _swap(self, data: bytes) -> Document | None:
        self._next = epochs.following(epochs.latest(self._base, self._epoch))
        return await self._member.put(NAME, self._base, self._next, data)

    def _told(self, book: Book, data: bytes) -> None:
        self._epoch = self._base = self._next
        self._line = self._base_line = self._next_line
        self._data, self._behind = data, False
        self._untold.clear()
        self._adopt(book)
        self._try_to_write()

    def _hear(self, document: Document | None) -> None:
        """What the store has."""
        self._malformed = ""
        if document is None or not (document.epoch or document.data):
            self._base, self._base_line, self._has_heard = 0, "", True
            self._joins, self._behind = False, self._theirs != Book()
            return
        self._base = document.epoch
        if document.data == self._data:
            return
        try:
            book, line = decoded(document.data)
        except Malformed as error:
            self._malformed = str(error)
            return
        self._base_line = line
        if not self._has_heard:
            self.begun |= {each.number for each in book.executing}
        self._has_heard = True
        if self._joins:
            self._leave_behind()
        is_later = epochs.ahead(document.epoch, self._epoch) or (document.epoch == self._epoch and not self._data)
        goes_on = line == self._line and is_later
        both = book if goes_on or not self._line else joined(book, self._theirs)
        self._behind = both != book
        if not self._behind:
            self._epoch, self._line, self._data = epochs.latest(self._epoch, document.epoch), line, document.data
        self._adopt(both)
        if self.book == book:
            self._untold.clear()
        self._try_to_write()

    def _leave_behind(self) -> None:
        """What was proposed while this server was alone, but for what has to be reviewed."""
        self._joins = False
        for each in self.book.proposals:
            if each.is_unreviewed and each.is_over:
                kept = placed(each, self.replica, self.next_alone)
                self._untold[kept.number] = kept
                log.warning("proposal %d of this server is proposal %d of its fleet", each.number, kept.number)
            elif not each.is_over and each.number < ALONE:
                self._untold.pop(each.number, None)
                log.warning("proposal %d of this server is none of its fleet: propose it again", each.number)

    def _adopt(self, theirs: Book) -> None:
        before, self._theirs = self.book, theirs
        self.book = with_untold(theirs, self._untold.values())
        if self.book != before:
            try:
                self._store.save(self.book)
            except ProblemsFound as found:
                log.error("%s; the fleet has them", found)

    def _read(self) -> Untold | None:
        try:
            return read(Untold, read_regular(self._file, LARGEST_FILE))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            what = "what the fleet was not told yet of proposals cannot be read"
            raise ProblemsFound([Problem(what, str(self._file), str(error).splitlines()[0], HOW_BROKEN)]) from error

    def _write(self) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = Untold(epoch=self._epoch, line=self._line, proposals=tuple(self._untold.values()))
        replace_file(self._file, written(kept, defaults=False) + b"\n")

    def _try_to_write(self) -> None:
        try:
            self._write()
        except OSError as error:
            log.error("%s cannot be written: %s", self._file, error.strerror or error)


def _if_it_can(change: Change, book: Book) -> Book:
    try:
        return change(book)
    except ProblemsFound:
        return book
