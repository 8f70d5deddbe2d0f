"""Where proposals are made, approved and executed: each change recorded and on disk before it counts.

Execution happens exactly once. A proposal is `executing` on disk before anything is done, and what is done carries its
number: after a crash, the next start looks for that number, and does what is not there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any, Protocol

from modelward.approvals.book import Book, is_own
from modelward.approvals.outcome import ENDED
from modelward.approvals.proposal import Approval, Ask, Proposal
from modelward.approvals.store import Store
from modelward.audit.record import Actor, Record, automatic, human
from modelward.audit.recorder import NotRecorded, Recorder
from modelward.config.approvals import Approvals
from modelward.config.operators import Verb
from modelward.config.units import SECOND
from modelward.plural import counted
from modelward.problem import ProblemsFound

REMIND_SECONDS = 60.0  # between two lines about glass that is broken and not reviewed
LONGEST_TEXT = 2000  # characters of why a proposal has ended
INTERNAL = "internal error; the server's log says more"

log = logging.getLogger("modelward.approvals")


Demand = Callable[[Verb], None]


class Acts(Protocol):
    """What proposals are about: the server, as they see it."""

    async def pinned(self, ask: Ask) -> str:
        """The digest of what the ask is about, as it is now. Raises ProblemsFound where it is not there any more."""

    async def rights(self, ask: Ask) -> Sequence[str]:
        """Which settings that say who may do what it changes. Raises ProblemsFound where it is not what is there."""

    def rules(self, ask: Ask) -> str:
        """A digest of the settings that say who may propose and approve it, and how many must."""

    def was_done(self, proposal: Proposal) -> bool:
        """Whether a proposal that was executing at a crash had been executed."""

    async def do(self, proposal: Proposal) -> None:
        """Does it, on record. Raises ProblemsFound, and then nothing has changed."""


class Desk:
    """book: what is on disk, but for the end of a proposal that could not be written yet."""

    def __init__(
        self,
        store: Store,
        acts: Acts,
        approvals: Callable[[], Approvals],
        recorder: Callable[[], Recorder],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """clock: seconds since 1970."""
        self.book = Book()
        self._store = store
        self._acts = acts
        self._approvals = approvals
        self._recorder = recorder
        self._clock = clock
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Proposal]] = set()
        self._unsaved = False
        self._unresumed: set[int] = set()  # of the last start: the trail could not be read or written yet
        self._told: set[int] = set()  # whose outcome of the last start is in the trail, or in line for it
        self._reminded = -inf

    def load(self) -> None:
        """Raises ProblemsFound."""
        self.book = self._store.load()

    @property
    def failures(self) -> int:
        """Writes that failed."""
        return self._store.failures

    # ---- what operators do

    async def propose(self, ask: Ask, by: Actor, needed: int) -> Proposal:
        """Raises ProblemsFound."""
        seconds = self._approvals().expire / SECOND

        def change() -> Book:
            rules = self._acts.rules(ask)
            return self.book.proposed(
                ask, by, self._clock(), seconds=seconds, needed=needed, person=self._person, rules=rules
            )

        async with self._changing:
            await self._expire()
            await self._confirmed("proposal.open", ask, by, change, number=self.book.last + 1, reason=ask.reason)
        proposal = self.book.proposals[-1]
        counts = counted(proposal.enough, "approval")
        log.info("proposal %d of %s: %s, needs %s", proposal.number, by.name, ask.words, counts)
        return proposal

    async def approve(
        self, number: int, by: Actor, reason: str, *, signed: bool = False, demand: Demand = lambda verb: None
    ) -> Proposal:
        """Executes it too where this was the last approval needed: then it is over when this returns. demand: called
        for the verbs that it takes besides. Raises what that raises; and ProblemsFound, and then it is as it was, or
        void because what it asked for has changed."""
        async with self._changing:
            await self._expire()
            proposal = self.book.find(number)
            changed = await self._changed(proposal)
            rights = proposal.state == "open" and not changed and not signed
            rights = rights and await self._demanded(proposal.ask, demand)
            approval = Approval(by=by, at=self._clock(), reason=reason, signed=signed, rights=rights)

            def change() -> Book:
                if changed:
                    self._void(proposal, changed)
                return self.book.approved(number, approval, self._person)

            await self._confirmed("proposal.approve", proposal.ask, by, change, number=number, reason=reason)
        after = self.book.find(number)
        log.info("proposal %d: approved by %s%s", number, by.name, " by a signature" if signed else "")
        return await self._execution(after) if after.state == "executing" else after

    async def reject(self, number: int, by: Actor, reason: str) -> Proposal:
        """Raises ProblemsFound."""
        async with self._changing:
            await self._expire()
            ask = self.book.find(number).ask
            change = lambda: self.book.rejected(number, by, self._clock(), reason)  # noqa: E731
            await self._confirmed("proposal.reject", ask, by, change, number=number, reason=reason)
        log.info("proposal %d: rejected by %s", number, by.name)
        return self.book.find(number)

    async def withdraw(self, number: int, by: Actor, reason: str) -> Proposal:
        """What this operator has proposed. Raises ProblemsFound."""
        async with self._changing:
            await self._expire()
            ask = self.book.find(number).ask
            change = lambda: self.book.withdrawn(number, by, self._clock(), reason, self._person)  # noqa: E731
            await self._confirmed("proposal.withdraw", ask, by, change, number=number, reason=reason)
        log.info("proposal %d: withdrawn by %s", number, by.name)
        return self.book.find(number)

    def is_own(self, proposal: Proposal, by: Actor) -> bool:
        """Whether this operator has proposed it."""
        return is_own(proposal, by, self._person)

    async def claim(self, number: int, by: Actor, reason: str) -> Proposal:
        """Raises ProblemsFound."""
        async with self._changing:
            ask = self.book.find(number).ask
            change = lambda: self.book.claimed(number, by, self._clock(), reason)  # noqa: E731
            await self._confirmed("proposal.claim", ask, by, change, number=number, reason=reason)
        return self.book.find(number)

    async def review(self, number: int, by: Actor, reason: str) -> Proposal:
        """Raises ProblemsFound."""
        async with self._changing:
            ask = self.book.find(number).ask
            review = Approval(by=by, at=self._clock(), reason=reason)
            change = lambda: self.book.reviewed(number, review, self._person)  # noqa: E731
            await self._confirmed("proposal.review", ask, by, change, number=number, reason=reason)
        log.info("proposal %d: the broken glass was reviewed by %s", number, by.name)
        return self.book.find(number)

    async def break_glass(self, ask: Ask, by: Actor, demand: Demand = lambda verb: None) -> Proposal:
        """Does it at once. demand: as `approve`, since broken glass stands for the approvals, not for the verb. Raises
        ProblemsFound where it could not be recorded, and then nothing has changed."""
        async with self._changing:
            number, rights = self.book.last + 1, await self._demanded(ask, demand)
            change = lambda: self.book.broken(ask, by, self._clock(), rights=rights)  # noqa: E731
            marks: dict[str, Any] = {"reason": ask.reason, "break_glass": True}
            await self._confirmed("proposal.break_glass", ask, by, change, number=number, **marks)
        log.error("the glass was broken by %s: %s: %s", by.name, ask.words, ask.reason)
        self._reminded = self._clock()
        return await self._execution(self.book.find(number))

    # ---- what the server does

    async def resume(self) -> None:
        """Finishes what was executing when the server ended. Once it serves."""
        for proposal in self.book.executing:
            await self._resume(proposal)

    async def look(self) -> None:
        """Ends what has expired, writes what could not be written, and says again what waits for a review."""
        for number in sorted(self._unresumed):
            await self._resume(self.book.find(number))
        async with self._changing:
            if self._unsaved:
                self._keep(self.book)
            await self._expire()
        if (waiting := self.book.unreviewed) and not 0 <= self._clock() - self._reminded < REMIND_SECONDS:
            self._reminded = self._clock()
            first = waiting[0]
            log.error(
                "%s by breaking the glass, not reviewed yet: proposal %d by %s: %s; modelward review %d --reason TEXT",
                "one thing was done" if len(waiting) == 1 else f"{len(waiting)} things were done",
                first.number, first.by.name, first.ask.words, first.number,
            )  # fmt: skip

    async def void(self, number: int, why: str) -> None:
        """An open proposal whose object has changed."""
        async with self._changing:
            self._void(self.book.find(number), why)

    # ---- how

    def _person(self, name: str) -> str:
        return self._approvals().person(name)

    async def _confirmed(
        self, verb: str, ask: Ask, by: Actor, change: Callable[[], Book], *, number: int, **marks: Any
    ) -> None:
        """Makes a change that an operator asked for: recorded, done, on disk, and its outcome recorded."""
        about: dict[str, Any] = {"model": ask.model, "version": ask.version, "digest": ask.digest, "object": ask.words}
        about["break_glass"] = marks.pop("break_glass", False)
        record = human(verb, by, result="asked", proposal=number, **about, **marks)
        of = await self._recorder().confirm(record)
        try:
            book = change()
            self._store.save(book)
        except ProblemsFound as found:
            problems = tuple(each.as_json() for each in found.problems)
            refused = human(verb, by, result="refused", of=of, proposal=number, problems=problems, **about)
            await self._recorder().settle(refused)
            raise
        self.book = book
        await self._recorder().settle(human(verb, by, result="done", of=of, proposal=number, **about))

    async def _execution(self, proposal: Proposal) -> Proposal:
        """Goes on where the caller is cancelled."""
        task = asyncio.get_running_loop().create_task(self._execute(proposal))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _execute(self, proposal: Proposal) -> Proposal:
        problems = ""
        try:
            await self._acts.do(proposal)
        except ProblemsFound as found:
            problems = "; ".join(map(str, found.problems))
            log.error("proposal %d: not executed: %s", proposal.number, problems)
        except Exception:
            problems = INTERNAL
            log.exception("proposal %d: not executed", proposal.number)
        if problems:  # also where it failed before its verb was asked for
            await self._recorder().settle(self._over("proposal.fail", proposal.number, problems))
        async with self._changing:
            self._end(proposal, problems)
        return self.book.find(proposal.number)

    def _end(self, proposal: Proposal, problems: str) -> None:
        self._keep(self.book.executed(proposal.number, self._clock(), problems[:LONGEST_TEXT]))

    async def _resume(self, proposal: Proposal) -> None:
        """Once what the server had asked for before it ended has its outcome on record: the trail tells whether it has.
        Where that cannot be told or written, `look` tries again."""
        number, was_done = proposal.number, self._acts.was_done(proposal)
        self._unresumed.add(number)
        if not await self._has_outcome(proposal, was_done):
            return
        self._unresumed.discard(number)
        if was_done:
            log.warning("proposal %d: executed before the server ended", number)
            async with self._changing:
                self._end(proposal, "")
        else:
            log.warning("proposal %d: approved before the server ended, executed now", number)
            await self._execution(proposal)

    async def _has_outcome(self, proposal: Proposal, was_done: bool) -> bool:
        """In the trail, by now; a crash may have kept it from being recorded."""
        ask, number, trail = proposal.ask, proposal.number, self._recorder()
        try:
            records = await trail.told_of(number, ask.record, datetime.fromtimestamp(proposal.since, UTC))
        except NotRecorded:
            return False
        of = max((each["n"] for each in records if each["result"] == "asked"), default=None)
        if any(each["result"] != "asked" and each.get("of") == of for each in records):
            return True
        if of is None and not was_done:
            return True  # it was not asked for, and will be
        if number in self._told:
            return False  # it is in line
        self._told.add(number)
        about = {"model": ask.model, "version": ask.version, "digest": ask.digest, "of": of, "proposal": number}
        marks: dict[str, Any] = {"approvals": proposal.approvers, "break_glass": proposal.break_glass}
        marks |= {"reason": ask.reason} if was_done else {"result": "failed", "reason": ENDED}
        return await trail.settle(human(ask.record, proposal.by, **about, **marks))

    def _keep(self, book: Book) -> None:
        """What has happened counts whether or not it can be written: then it is written later, and after a crash the
        next start finds out again."""
        self.book = book
        try:
            self._store.save(book)
            self._unsaved = False
        except ProblemsFound as found:
            if not self._unsaved:
                log.error("%s; it is tried again", found)
            self._unsaved = True

    async def _expire(self) -> None:
        before = {each.number for each in self.book.open}
        book = self.book.expired(self._clock())
        if book is self.book:
            return
        self._keep(book)
        for number in before.difference(each.number for each in book.open):
            self._note("proposal.expire", number, "it was not approved in time")

    async def _demanded(self, ask: Ask, demand: Demand) -> bool:
        """Whether what is pinned changes who may do what. Then an approver needs that right too."""
        rights = bool(await self._acts.rights(ask))
        if rights:
            demand("bindings")
        return rights

    async def _changed(self, proposal: Proposal) -> str:
        """Why what was proposed is not what is there any more; empty where it is."""
        if proposal.state != "open":
            return ""
        if proposal.rules and proposal.rules != self._acts.rules(proposal.ask):
            return "operators or approvals of the configuration have changed since it was proposed"
        try:
            now = await self._acts.pinned(proposal.ask)
        except ProblemsFound as found:
            return "; ".join(each.what for each in found.problems)
        was = proposal.ask.digest
        return f"its files have changed: they were {was}, and are {now}" if now != was else ""

    def _void(self, proposal: Proposal, why: str) -> None:
        if proposal.state != "open":
            return
        self._keep(self.book.voided(proposal.number, self._clock(), why))
        self._note("proposal.void", proposal.number, why)

    def _note(self, verb: str, number: int, why: str) -> None:
        log.warning("proposal %d is over: %s", number, why)
        self._recorder().note(self._over(verb, number, why))

    def _over(self, verb: str, number: int, why: str) -> Record:
        ask = next((each.ask for each in self.book.proposals if each.number == number), None)
        about = {"model": ask.model, "version": ask.version, "digest": ask.digest} if ask is not None else {}
        return automatic(verb, proposal=number, reason=why[:LONGEST_TEXT], **about)
