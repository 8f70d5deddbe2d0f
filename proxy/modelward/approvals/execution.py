"""What was approved is executed, exactly once: also over a crash, and by one server of a fleet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from modelward.approvals.acts import Acts
from modelward.approvals.book import Book
from modelward.approvals.kept import Keeper
from modelward.approvals.outcome import ENDED
from modelward.approvals.proposal import OF_ONE_SERVER, Proposal
from modelward.audit.record import Record, automatic, human
from modelward.audit.recorder import NotRecorded, Recorder
from modelward.problem import ProblemsFound

LONGEST_TEXT = 2000  # characters of why a proposal has ended
INTERNAL = "internal error; the server's log says more"

log = logging.getLogger("modelward.approvals")


class Execution:
    """keeper: of the book at that moment. changing: held while the book is changed here."""

    def __init__(
        self,
        keeper: Callable[[], Keeper],
        acts: Acts,
        recorder: Callable[[], Recorder],
        clock: Callable[[], float],
        changing: asyncio.Lock,
    ) -> None:
        """clock: seconds since 1970."""
        self._keeper = keeper
        self._acts = acts
        self._recorder = recorder
        self._clock = clock
        self._changing = changing
        self._tasks: set[asyncio.Task[Proposal]] = set()
        self._doing: set[int] = set()
        self._own: set[int] = set()  # open ones of the last look that are for this server to execute
        self._unresumed: set[int] = set()  # of the last start: the trail could not be read or written yet
        self._told: set[int] = set()  # whose outcome of the last start is in the trail, or in line for it
        self.unanswered: dict[int, str] = {}
        """Why it is not known of these what becomes of them: the other servers of the fleet could not be told."""

    async def resume(self) -> None:
        """Finishes what was executing when the server ended."""
        for proposal in self._keeper().book.executing:
            if self.is_for(proposal):
                await self._resume(proposal)

    async def look(self) -> None:
        if self._keeper().answers:
            self._unresumed.update(self.unanswered)
            self.unanswered.clear()
        executing = {each.number: each for each in self._keeper().book.executing if self.is_for(each)}
        self._unresumed &= executing.keys()  # another server of the fleet may have ended one, or have it now
        for number in sorted(self._unresumed):
            await self._resume(executing[number])
        if self._keeper().replica and not self._keeper().is_doubtful:
            await self._look_at_others()

    def is_for(self, proposal: Proposal) -> bool:
        """Whether this server has proposed it, and once it is approved, whether it executes it."""
        return not self._keeper().replica or proposal.on in ("", self._keeper().replica)

    async def run(self, proposal: Proposal) -> Proposal:
        """Goes on where the caller is cancelled."""
        self._doing.add(proposal.number)
        task = asyncio.get_running_loop().create_task(self._execute(proposal))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _execute(self, proposal: Proposal) -> Proposal:
        number, problems = proposal.number, await self._do(proposal)
        if not problems or proposal.break_glass or self._keeper().answers:
            if problems:  # also where it failed before its verb was asked for
                await self._recorder().settle(over(self._keeper().book, "proposal.fail", number, problems))
            async with self._changing:
                await self._end(proposal, problems)
        self._doing.discard(number)
        after = next((each for each in self._keeper().book.proposals if each.number == number), None)
        if after is None:  # a fleet does not keep it
            after = Book(proposals=(proposal,)).executed(number, self._clock(), problems).find(number)
        elif after.state == "executing":
            self.unanswered[number] = problems
        return after

    async def _do(self, proposal: Proposal) -> str:
        """Why it was not done; empty where it was."""
        number, verb = proposal.number, proposal.ask.verb
        try:
            await self._acts.do(proposal)
        except ProblemsFound as found:
            problems = "; ".join(map(str, found.problems))
            log.error("proposal %d: not executed: %s", number, problems)
        except Exception:
            problems = INTERNAL
            log.exception("proposal %d: not executed", number)
        else:
            return ""
        if not self._keeper().replica:
            return problems
        await self._keeper().refresh()  # an answer of the store may have been lost
        return "" if verb in ("promote", "rollback") and self._acts.was_done(proposal) else problems

    async def _end(self, proposal: Proposal, problems: str) -> None:
        now, why = self._clock(), problems[:LONGEST_TEXT]
        await self._keeper().keep(lambda book: book.executed(proposal.number, now, why))

    def _was_done(self, proposal: Proposal) -> bool:
        """Before this server began, where its start has done it: workers are new, and nothing is contained."""
        has_begun = proposal.ask.verb not in OF_ONE_SERVER or proposal.number in self._keeper().begun
        return has_begun and self._acts.was_done(proposal)

    async def _resume(self, proposal: Proposal) -> None:
        """Once what the server had asked for before it ended has its outcome on record: the trail tells whether it has.
        Where that cannot be told or written, `look` tries again."""
        number, was_done = proposal.number, self._was_done(proposal)
        self._unresumed.add(number)
        if not await self._has_outcome(proposal, was_done):
            return
        self._unresumed.discard(number)
        if was_done:
            log.warning("proposal %d: executed before the server ended", number)
            async with self._changing:
                await self._end(proposal, "")
        else:
            log.warning("proposal %d: approved, and not executed yet: executed now", number)
            await self.run(proposal)

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

    async def _look_at_others(self) -> None:
        """Executes what others have approved for this server, and looks after what a server has left that is gone."""
        async with self._changing:  # what this server has just approved itself is being executed once that ends
            book = self._keeper().book
            waiting = [each for each in book.executing if self.is_for(each)]
            known = self._doing | self._unresumed | self.unanswered.keys()
            waiting = [each for each in waiting if each.number not in known]
            own, self._own = self._own, {each.number for each in book.open if self.is_for(each)}
        for each in waiting:
            await (self.run(each) if each.number in own else self._resume(each))
        others = [each for each in self._keeper().book.executing if not self.is_for(each)]
        gone = await self._keeper().gone({each.on for each in others})
        for each in others:
            if each.on in gone:
                await self._take_over(each)

    async def _take_over(self, proposal: Proposal) -> None:
        ask, was_done = proposal.ask, self._acts.was_done(proposal)
        log.warning("proposal %d was to be executed by %s, which is gone", proposal.number, proposal.on)
        if not was_done and not proposal.break_glass and ask.verb not in OF_ONE_SERVER:
            number, replica = proposal.number, self._keeper().replica

            def mine(book: Book) -> Book:
                return book.placed(number, replica) if book.find(number) == proposal else book

            async with self._changing:
                taken = await self._keeper().keep(mine)
                self._doing |= {number} if taken else set()
            if taken:
                await self.run(self._keeper().book.find(number))
            return
        why = "" if was_done and ask.verb not in OF_ONE_SERVER else f"the server {proposal.on} is gone"
        if why:
            await self._recorder().settle(over(self._keeper().book, "proposal.fail", proposal.number, why))
        async with self._changing:
            await self._end(proposal, why)


def over(book: Book, verb: str, number: int, why: str) -> Record:
    """Of a proposal that has ended by itself, or could not be executed."""
    ask = next((each.ask for each in book.proposals if each.number == number), None)
    about = {"model": ask.model, "version": ask.version, "digest": ask.digest} if ask is not None else {}
    return automatic(verb, proposal=number, reason=why[:LONGEST_TEXT], **about)
