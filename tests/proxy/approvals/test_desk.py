"""Proposals made, approved and executed: recorded first, executed once, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from modelward.approvals import FILE
from modelward.approvals.desk import REMIND_SECONDS, Desk
from modelward.approvals.proposal import Ask, Parameters, Proposal
from modelward.approvals.store import Store
from modelward.audit.record import Record, human
from modelward.audit.recorder import NotRecorded
from modelward.config.approvals import Approvals
from modelward.config.units import SECOND
from modelward.problem import Problem, ProblemsFound
from tests.proxy.approvals.test_book import ADA, BOB, EVE, ask
from tests.proxy.promotion.served import on_a_loop

LIFE = 24 * 3600.0


class Trail:
    """Keeps what it is told; full: it confirms nothing."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.full = self.unreadable = False

    async def confirm(self, record: Record) -> int:
        await asyncio.sleep(0)  # others have their turn, as with a disk
        if self.full:
            raise NotRecorded([Problem("the trail cannot be written", "audit")])
        self.records.append(record)
        return len(self.records) - 1

    async def settle(self, record: Record) -> bool:
        self.note(record)
        return True

    async def told_of(self, proposal: int, verb: str, since: datetime) -> list[dict[str, Any]]:
        if self.unreadable:
            raise NotRecorded([Problem("the trail cannot be read", "audit")])
        same = ("human", proposal, verb)
        found = [(n, each) for n, each in enumerate(self.records) if (each.kind, each.proposal, each.verb) == same]
        return [json.loads(each.encoded(n)) for n, each in found]

    def note(self, record: Record) -> None:
        self.records.append(record)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(each.verb, each.result) for each in self.records]


class Server:
    """What proposals are about. crash: a stop between the execution and its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trail = Trail()
        self.digest = ask().digest
        self.decided_by = "sha256:rules"
        self.changed: list[str] = []
        self.done: list[int] = []
        self.now = 0.0
        self.approvals = Approvals()
        self.fails: Callable[[], None] = lambda: None
        self.desk = self.start()

    def start(self) -> Desk:
        self.desk = Desk(Store(self.folder), self, lambda: self.approvals, lambda: self.trail, lambda: self.now)
        self.desk.load()
        return self.desk

    async def pinned(self, ask: Ask) -> str:
        return self.digest

    async def rights(self, ask: Ask) -> list[str]:
        return self.changed

    def rules(self, ask: Ask) -> str:
        return self.decided_by

    def was_done(self, proposal: Proposal) -> bool:
        return proposal.number in self.done

    async def do(self, proposal: Proposal) -> None:
        await asyncio.sleep(0)
        self.fails()
        self.done.append(proposal.number)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "state")


@on_a_loop
async def _proposed(server: Server) -> None:
    await server.desk.propose(ask(reason="better"), ADA, 1)


def refuse(verb: str) -> None:
    raise PermissionError(verb)


def test_what_changes_who_may_do_what_takes_that_verb_of_those_who_approve_it_or_break_the_glass(
    server: Server,
) -> None:
    _proposed(server)
    server.changed = ["operators"]
    for act in (
        lambda: server.desk.approve(1, BOB, "", demand=refuse),
        lambda: server.desk.break_glass(ask(reason="incident 8"), ADA, refuse),
    ):
        with pytest.raises(PermissionError, match="bindings"):
            asyncio.run(act())
        assert (server.desk.book.last, server.desk.book.find(1).approvals, server.done) == (1, (), [])
    after = asyncio.run(server.desk.approve(1, BOB, ""))
    assert (after.may_change_rights, after.approvals[0].rights) == (True, True)


def test_who_was_not_asked_for_the_verb_when_it_was_approved_does_not_stand_for_it_later(server: Server) -> None:
    _proposed(server)
    asyncio.run(server.desk.approve(1, BOB, "", demand=refuse))
    glass = asyncio.run(server.desk.break_glass(ask(3), ADA, refuse))
    assert [server.desk.book.find(1).may_change_rights, glass.may_change_rights] == [False, False]
    server.changed = ["operators"]
    glass = asyncio.run(server.desk.break_glass(ask(3), ADA))
    assert glass.may_change_rights


def test_the_last_approval_executes_it_and_every_step_is_on_record(server: Server) -> None:
    _proposed(server)
    after = asyncio.run(server.desk.approve(1, BOB, "looks good"))
    assert (after.state, server.done) == ("done", [1])
    assert server.trail.told == [
        ("proposal.open", "asked"), ("proposal.open", "done"),
        ("proposal.approve", "asked"), ("proposal.approve", "done"),
    ]  # fmt: skip
    assert [(each.actor.name, each.proposal, each.of) for each in server.trail.records[2:]] == [
        ("bob", 1, None),
        ("bob", 1, 2),
    ]


def test_two_approvers_at_once_execute_it_once(server: Server) -> None:
    _proposed(server)

    async def race() -> list[Proposal | BaseException]:
        both = (server.desk.approve(1, each, "") for each in (BOB, EVE))
        return await asyncio.gather(*both, return_exceptions=True)

    first, second = asyncio.run(race())
    assert isinstance(first, Proposal)
    assert isinstance(second, ProblemsFound)
    assert server.done == [1]


def test_what_has_changed_since_is_void_with_the_reason(server: Server) -> None:
    _proposed(server)
    server.digest = "sha256:other"
    with pytest.raises(ProblemsFound, match="it is void: its files have changed"):
        asyncio.run(server.desk.approve(1, BOB, ""))
    server.digest = ask().digest
    with pytest.raises(ProblemsFound, match="it is void"):
        asyncio.run(server.desk.approve(1, BOB, ""))
    assert server.done == []
    assert ("proposal.void", "done") in server.trail.told
    assert server.trail.told.count(("proposal.approve", "refused")) == 2


def test_a_proposal_is_void_once_others_may_approve_it(server: Server) -> None:
    _proposed(server)
    server.decided_by = "sha256:other"
    with pytest.raises(ProblemsFound, match="operators or approvals of the configuration have changed"):
        asyncio.run(server.desk.approve(1, BOB, ""))
    assert (server.done, server.desk.book.find(1).state) == ([], "void")


def test_the_same_for_another_reason_is_the_same(server: Server) -> None:
    asyncio.run(server.desk.propose(ask(parameters=Parameters(force="urgent")), ADA, 1))
    with pytest.raises(ProblemsFound, match="asks for the same"):
        asyncio.run(server.desk.propose(ask(parameters=Parameters(force="more urgent")), ADA, 1))


def test_what_has_expired_is_not_executed(server: Server) -> None:
    _proposed(server)
    server.now = LIFE
    with pytest.raises(ProblemsFound, match="it is expired: it was not approved in time"):
        asyncio.run(server.desk.approve(1, BOB, ""))
    assert server.done == []
    assert ("proposal.expire", "done") in server.trail.told


def test_a_proposal_outlives_a_restart_and_its_expiry_is_of_when_it_was_made(server: Server) -> None:
    server.approvals = Approvals.model_construct(expire=10 * SECOND)
    _proposed(server)
    server.approvals = Approvals()
    server.start()
    server.now = 9.0
    assert asyncio.run(server.desk.approve(1, BOB, "")).state == "done"
    assert server.done == [1]


@pytest.mark.parametrize("had_begun", [True, False])
def test_a_crash_while_executing_is_finished_once_at_the_next_start(server: Server, had_begun: bool) -> None:
    _proposed(server)

    class Crash(BaseException):
        pass

    def crash() -> None:
        if had_begun:
            server.done.append(1)
        raise Crash

    server.fails = crash
    with pytest.raises(Crash):
        asyncio.run(server.desk.approve(1, BOB, ""))
    server.fails = lambda: None
    for _ in range(2):
        asyncio.run(server.start().resume())
    assert (server.done, server.desk.book.find(1).state) == ([1], "done")
    assert server.trail.told.count(("promote", "done")) == had_begun, "its outcome may not be on record"


class Crash(BaseException):
    """The server ends."""


def crashed(server: Server, *results: str, done: bool) -> list[Record]:
    """Records of what was promoted at a crash and the start after it; results: recorded before the crash."""
    _proposed(server)

    def crash() -> None:
        for each in results:
            of = len(server.trail.records) - 1 if each != "asked" else None
            server.trail.note(human("promote", ADA, proposal=1, result=each, of=of))
        if done:
            server.done.append(1)
        raise Crash

    server.fails = crash
    with pytest.raises(Crash):
        asyncio.run(server.desk.approve(1, BOB, ""))
    server.fails = lambda: None
    for _ in range(2):
        asyncio.run(server.start().resume())
    assert (server.done, server.desk.book.find(1).state) == ([1], "done")
    return [each for each in server.trail.records if each.verb == "promote"]


def test_an_outcome_that_a_crash_kept_from_the_trail_names_what_was_asked(server: Server) -> None:
    asked, outcome = crashed(server, "asked", done=True)
    assert (outcome.result, outcome.of) == ("done", server.trail.records.index(asked))
    assert (outcome.actor, outcome.approvals) == (ADA, ("bob",))


def test_an_outcome_that_is_in_the_trail_is_not_written_again(server: Server) -> None:
    assert [each.result for each in crashed(server, "asked", "done", done=True)] == ["asked", "done"]


def test_what_was_asked_and_not_done_before_a_crash_has_failed_and_is_asked_again(server: Server) -> None:
    asked, outcome = crashed(server, "asked", done=False)
    assert (outcome.result, outcome.of) == ("failed", server.trail.records.index(asked))
    assert outcome.reason == "the server ended before it was done"


def test_a_start_without_the_trail_resumes_once_it_can_be_read(server: Server) -> None:
    server.trail.unreadable = True
    _proposed(server)

    def crash() -> None:
        raise Crash

    server.fails = crash
    with pytest.raises(Crash):
        asyncio.run(server.desk.approve(1, BOB, ""))
    server.fails = lambda: None
    asyncio.run(server.start().resume())
    asyncio.run(server.desk.look())
    assert (server.done, server.desk.book.find(1).state) == ([], "executing")
    server.trail.unreadable = False
    for _ in range(2):
        asyncio.run(server.desk.look())
    assert (server.done, server.desk.book.find(1).state) == ([1], "done")


def test_an_outcome_in_line_is_not_put_there_twice(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    line: list[Record] = []

    async def settle(record: Record) -> bool:
        line.append(record)
        return False

    _proposed(server)

    def crash() -> None:
        server.trail.note(human("promote", ADA, proposal=1, result="asked"))
        server.done.append(1)
        raise Crash

    server.fails = crash
    with pytest.raises(Crash):
        asyncio.run(server.desk.approve(1, BOB, ""))
    monkeypatch.setattr(server.trail, "settle", settle)
    asyncio.run(server.start().resume())
    for _ in range(3):
        asyncio.run(server.desk.look())
    assert (len(line), server.desk.book.find(1).state) == (1, "executing"), "a crash now loses nothing"
    server.trail.records += line
    asyncio.run(server.desk.look())
    assert (len(line), server.desk.book.find(1).state) == (1, "done")


def test_the_outcome_is_on_record_before_anyone_is_told_and_before_the_end_is_written(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(server.desk.propose(ask(parameters=Parameters(force="urgent")), ADA, 1))
    seen: list[tuple[str, str]] = []

    async def settle(record: Record) -> bool:
        seen.append((record.verb, json.loads((server.folder / FILE).read_text())["proposals"][0]["state"]))
        return True

    class Crash(BaseException):
        pass

    def crash() -> None:
        server.done.append(1)
        raise Crash

    server.fails = crash
    monkeypatch.setattr(server.trail, "settle", settle)
    with pytest.raises(Crash):
        asyncio.run(server.desk.approve(1, BOB, ""))
    assert seen == [("proposal.approve", "executing")], "nothing of a change is only noted"
    asyncio.run(server.start().resume())
    assert seen[1:] == [("force", "executing")]
    assert server.desk.book.find(1).state == "done"


def test_an_execution_that_fails_ends_the_proposal_with_the_reason(server: Server) -> None:
    _proposed(server)

    def fail() -> None:
        raise ProblemsFound([Problem("version 2 is not served", "model m")])

    server.fails = fail
    after = asyncio.run(server.desk.approve(1, BOB, ""))
    assert (after.state, after.why) == ("failed", "model m: version 2 is not served")
    failed = server.trail.records[-1]
    assert (failed.verb, failed.proposal, failed.reason) == ("proposal.fail", 1, after.why)


@pytest.mark.parametrize("disk", [True, False], ids=["disk", "trail"])
def test_what_cannot_be_recorded_or_written_changes_nothing(server: Server, disk: bool) -> None:
    _proposed(server)
    before = (server.folder / FILE).read_text()

    async def tried() -> None:
        for work in (
            server.desk.approve(1, BOB, ""),
            server.desk.reject(1, BOB, ""),
            server.desk.propose(ask(3), ADA, 1),
            server.desk.break_glass(ask(3), ADA),
        ):
            with pytest.raises(ProblemsFound):
                await work

    server.trail.full = not disk
    if disk:
        (server.folder / FILE).unlink()
        (server.folder / FILE).mkdir()
    asyncio.run(tried())
    if disk:
        (server.folder / FILE).rmdir()
        (server.folder / FILE).write_text(before)
    server.trail.full = False
    assert (server.folder / FILE).read_text() == before
    assert server.done == []
    assert asyncio.run(server.desk.approve(1, BOB, "")).state == "done"


def test_broken_glass_is_done_at_once_and_told_until_it_is_reviewed(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    after = asyncio.run(server.desk.break_glass(ask(reason="incident 8"), ADA))
    assert (after.state, server.done) == ("done", [1])
    assert [each.break_glass for each in server.trail.records[:2]] == [True, True], "asked and done"
    server.start()
    caplog.clear()
    server.now = REMIND_SECONDS
    asyncio.run(server.desk.look())
    asyncio.run(server.desk.look())
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "not reviewed yet: proposal 1 by ada: promote m 2" in line.getMessage()
    with pytest.raises(ProblemsFound, match="ada has done it"):
        asyncio.run(server.desk.review(1, ADA, "fine"))
    asyncio.run(server.desk.review(1, BOB, "it was needed"))
    server.start()
    caplog.clear()
    server.now = 3 * REMIND_SECONDS
    asyncio.run(server.desk.look())
    assert not caplog.records


def test_a_file_that_is_no_book_keeps_the_server_from_starting(server: Server) -> None:
    (server.folder).mkdir(exist_ok=True)
    (server.folder / FILE).write_text("{")
    with pytest.raises(ProblemsFound, match="the file of proposals cannot be read"):
        server.start()
