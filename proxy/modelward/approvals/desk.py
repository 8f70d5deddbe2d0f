"""Where proposals are made, approved and executed: each change recorded and on disk before it counts.

Execution happens exactly once. A proposal is `executing` on disk before anything is done, and what is done carries its
number: after a crash, the next start looks for that number, and does what is not there. In a fleet one server executes
it, which the proposal names (`on`): the one that had the last approval, or whose workers, drift or inputs it is about.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Any

from msgspec import structs

from modelward.approvals.acts import Acts
from modelward.approvals.book import Book, is_own, refusal
from modelward.approvals.execution import Execution, over
from modelward.approvals.kept import Change, Keeper, Kept
from modelward.approvals.proposal import OF_ONE_SERVER, Approval, Ask, Proposal
from modelward.approvals.store import Store
from modelward.audit.record import Actor, human
from modelward.audit.recorder import NotRecorded, Recorder
from modelward.config.approvals import Approvals
from modelward.config.operators import Verb
from modelward.config.units import SECOND
from modelward.plural import counted
from modelward.problem import ProblemsFound

REMIND_SECONDS = 60.0  # between two lines about glass that is broken and not reviewed
HOW_UNANSWERED = (
    "Mend the store: this server or another one does it then, where it was not done; see modelward proposals"
)
ATTEMPTS = 8  # to make a proposal, where other servers of the fleet take its number

log = logging.getLogger("modelward.approvals")


Demand = Callable[[Verb], None]


class Desk:
    """keeper: where the book is kept; in a fleet another one takes its place before anything is asked."""

    def __init__(
        self,
        store: Store,
        acts: Acts,
        approvals: Callable[[], Approvals],
        recorder: Callable[[], Recorder],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """clock: seconds since 1970."""
        self.keeper: Keeper = Kept(store)
        self._store = store
        self._acts = acts
        self._approvals = approvals
        self._recorder = recorder
        self._clock = clock
        self._changing = asyncio.Lock()
        self.execution = Execution(lambda: self.keeper, acts, recorder, clock, self._changing)
        self._reminded = -inf

    @property
    def book(self) -> Book:
        """What is on disk, but for the end of a proposal that could not be written yet; in a fleet, what is in its
        store, as it was heard of last."""
        return self.keeper.book

    @property
    def store(self) -> Store:
        return self._store

    def load(self) -> None:
        """Raises ProblemsFound."""
        kept = Kept(self._store)
        kept.load()
        self.keeper = kept

    @property
    def failures(self) -> int:
        """Writes that failed."""
        return self._store.failures

    # ---- what operators do

    async def propose(self, ask: Ask, by: Actor, needed: int) -> Proposal:
        """Raises ProblemsFound."""
        seconds = self._approvals().expire / SECOND

        def change(book: Book, number: int) -> Book:
            if book.next != number:
                raise refusal(number, "another server of the fleet has taken this number", "Propose it again")
            rules = self._acts.rules(ask)
            book = book.proposed(
                ask, by, self._clock(), seconds=seconds, needed=needed, person=self._person, rules=rules
            )
            return self._placed(book, number)

        async with self._changing:
            await self.keeper.refresh()
            await self._expire()
            for attempt in range(ATTEMPTS):
                number = self.keeper.next
                try:
                    proposal = await self._confirmed(
                        "proposal.open", ask, by, partial(change, number=number), number=number, reason=ask.reason
                    )
                    break
                except NotRecorded:
                    raise
                except ProblemsFound:
                    if self.keeper.next == number or attempt == ATTEMPTS - 1:
                        raise
        counts = counted(proposal.enough, "approval")
        log.info("proposal %d of %s: %s, needs %s", proposal.number, by.name, ask.words, counts)
        return proposal

    async def approve(
        self, number: int, by: Actor, reason: str, *, signed: bool = False, demand: Demand = lambda verb: None
    ) -> Proposal:
        """Executes it too where this was the last approval needed: then it is over when this returns, unless another
        server of the fleet is to do it. demand: called for the verbs that it takes besides. Raises what that raises;
        and ProblemsFound, and then it is as it was, or void because what it asked for has changed."""
        async with self._changing:
            await self._expire()
            proposal = self.book.find(number)
            changed = await self._changed(proposal)
            rights = proposal.state == "open" and not changed and not signed
            rights = rights and await self._demanded(proposal.ask, demand)
            approval = Approval(by=by, at=self._clock(), reason=reason, signed=signed, rights=rights)

            def change(book: Book) -> Book:
                if changed and not self.execution.is_for(proposal):
                    raise refusal(
                        number, f"on this server {changed}", f"Approve it on {proposal.on}, or propose it again"
                    )
                return self._placed(book.approved(number, approval, self._person), number)

            async def before() -> None:
                if changed and self.execution.is_for(proposal):
                    await self._void(proposal, changed)

            after = await self._confirmed(
                "proposal.approve", proposal.ask, by, change, number=number, before=before, reason=reason
            )
        log.info("proposal %d: approved by %s%s", number, by.name, " by a signature" if signed else "")
        if after.state != "executing" or not self.execution.is_for(after):
            return after
        after = await self.execution.run(after)
        if why := self.execution.unanswered.get(number):
            raise refusal(number, f"it is approved, and it is not known whether it is done: {why}", HOW_UNANSWERED)
        return after

    def told(self, proposal: Proposal) -> Proposal:
        """As an operator is shown it: with why it is not known whether it is done."""
        why = self.execution.unanswered.get(proposal.number, "") if proposal.state == "executing" else ""
        return structs.replace(proposal, why=f"it is not known whether it is done: {why}") if why else proposal

    async def reject(self, number: int, by: Actor, reason: str) -> Proposal:
        """Raises ProblemsFound."""
        async with self._changing:
            await self._expire()
            ask = self.book.find(number).ask
            change = lambda book: book.rejected(number, by, self._clock(), reason)  # noqa: E731
            after = await self._confirmed("proposal.reject", ask, by, change, number=number, reason=reason)
        log.info("proposal %d: rejected by %s", number, by.name)
        return after

    async def withdraw(self, number: int, by: Actor, reason: str) -> Proposal:
        """What this operator has proposed. Raises ProblemsFound."""
        async with self._changing:
            await self._expire()
            ask = self.book.find(number).ask
            change = lambda book: book.withdrawn(number, by, self._clock(), reason, self._person)  # noqa: E731
            after = await self._confirmed("proposal.withdraw", ask, by, change, number=number, reason=reason)
        log.info("proposal %d: withdrawn by %s", number, by.name)
        return after

    def is_own(self, proposal: Proposal, by: Actor) -> bool:
        """Whether this operator has proposed it."""
        return is_own(proposal, by, self._person)

    def has_approved(self, proposal: Proposal, name: str) -> bool:
        return any(self._person(each) == self._person(name) for each in proposal.approvers)

    async def claim(self, number: int, by: Actor, reason: str) -> Proposal:
        """Raises ProblemsFound."""
        async with self._changing:
            ask = self.book.find(number).ask
            change = lambda book: book.claimed(number, by, self._clock(), reason)  # noqa: E731
            return await self._confirmed("proposal.claim", ask, by, change, number=number, reason=reason)

    async def review(self, number: int, by: Actor, reason: str) -> Proposal:
        """Raises ProblemsFound."""
        async with self._changing:
            ask = self.book.find(number).ask
            review = Approval(by=by, at=self._clock(), reason=reason)
            change = lambda book: book.reviewed(number, review, self._person)  # noqa: E731
            after = await self._confirmed("proposal.review", ask, by, change, number=number, reason=reason)
        log.info("proposal %d: the broken glass was reviewed by %s", number, by.name)
        return after

    async def break_glass(self, ask: Ask, by: Actor, demand: Demand = lambda verb: None) -> Proposal:
        """Does it at once. demand: as `approve`, since broken glass stands for the approvals, not for the verb. Raises
        ProblemsFound where it could not be recorded, and then nothing has changed."""
        async with self._changing:
            number, rights = self.keeper.next_alone, await self._demanded(ask, demand)
            marks: dict[str, Any] = {"reason": ask.reason, "break_glass": True}

            def change(book: Book) -> Book:
                return self._placed(book.broken(ask, by, self._clock(), rights=rights, number=number), number)

            proposal = await self._confirmed(
                "proposal.break_glass", ask, by, change, number=number, alone=True, **marks
            )
        log.error("the glass was broken by %s: %s: %s", by.name, ask.words, ask.reason)
        self._reminded = self._clock()
        return await self.execution.run(proposal)

    # ---- what the server does

    async def refresh(self) -> None:
        """Looks at what other servers of the fleet have changed, so that what an operator sees is not a moment old."""
        await self.keeper.refresh()

    async def resume(self) -> None:
        """Finishes what was executing when the server ended. Once it serves."""
        await self.keeper.refresh()
        await self.execution.resume()

    async def look(self) -> None:
        """Ends what has expired, writes what could not be written, and says again what waits for a review."""
        await self.execution.look()
        async with self._changing:
            await self.keeper.save_again()
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
            await self._void(self.book.find(number), why)

    # ---- how

    def _person(self, name: str) -> str:
        return self._approvals().person(name)

    def _placed(self, book: Book, number: int) -> Book:
        """With the server at which it was proposed, or which executes it."""
        if not (replica := self.keeper.replica):
            return book
        proposal = book.find(number)
        if proposal.on and (proposal.state != "executing" or proposal.ask.verb in OF_ONE_SERVER):
            return book
        return book.placed(number, replica)

    async def _confirmed(
        self,
        verb: str,
        ask: Ask,
        by: Actor,
        change: Change,
        *,
        number: int,
        before: Callable[[], Awaitable[None]] | None = None,
        alone: bool = False,
        **marks: Any,
    ) -> Proposal:
        """The proposal after a change that an operator asked for: recorded, done, kept, and its outcome recorded. One
        that has ended may not be kept by a fleet. before: called once it is recorded. alone: without asking the other
        servers of the fleet."""
        made: list[Proposal] = []

        def noted(book: Book) -> Book:
            book = change(book)
            made[:] = [book.find(number)]
            return book

        about: dict[str, Any] = {"model": ask.model, "version": ask.version, "digest": ask.digest, "object": ask.words}
        about["break_glass"] = marks.pop("break_glass", False)
        record = human(verb, by, result="asked", proposal=number, **about, **marks)
        of = await self._recorder().confirm(record)
        try:
            if before is not None:
                await before()
            await (self.keeper.put_alone if alone else self.keeper.put)(noted)
        except ProblemsFound as found:
            problems = tuple(each.as_json() for each in found.problems)
            refused = human(verb, by, result="refused", of=of, proposal=number, problems=problems, **about)
            await self._recorder().settle(refused)
            raise
        await self._recorder().settle(human(verb, by, result="done", of=of, proposal=number, **about))
        return made[0]

    async def _expire(self) -> None:
        before, now = {each.number for each in self.book.open}, self._clock()
        if self.book.expired(now) is self.book or not await self.keeper.keep(lambda book: book.expired(now)):
            return
        for number in before.difference(each.number for each in self.book.open):
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
        if proposal.ask.verb in OF_ONE_SERVER and not self.execution.is_for(proposal):
            return ""  # that one looks before it executes it
        try:
            now = await self._acts.pinned(proposal.ask)
        except ProblemsFound as found:
            return "; ".join(each.what for each in found.problems)
        was = proposal.ask.digest
        return f"its files have changed: they were {was}, and are {now}" if now != was else ""

    async def _void(self, proposal: Proposal, why: str) -> None:
        now = self._clock()
        if proposal.state == "open" and await self.keeper.keep(lambda book: book.voided(proposal.number, now, why)):
            self._note("proposal.void", proposal.number, why)

    def _note(self, verb: str, number: int, why: str) -> None:
        log.warning("proposal %d is over: %s", number, why)
        self._recorder().note(over(self.book, verb, number, why))
