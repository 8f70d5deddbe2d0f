"""Proposals of a fleet: the same ones on each server, decided together, executed once, also where the store is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from modelward.approvals import shared as shared_module
from modelward.approvals import shared_book
from modelward.approvals.book import ALONE, LARGEST_NUMBER, Book
from modelward.approvals.proposal import Ask, Proposal
from modelward.approvals.shared import UNTOLD, SharedBook
from modelward.approvals.shared_book import NAME, decoded, encoded
from modelward.audit.record import Actor, Record
from modelward.config.fleet import Fleet
from modelward.fleet.member import Member
from modelward.fleet.store import KEPT_SECONDS, Document, StoreError
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.state import State
from tests.proxy.approvals.test_book import ADA, BOB, EVE, approval, ask
from tests.proxy.approvals.test_desk import Server
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.promotion.served import on_a_loop

DAN = Actor(name="dan", proof="token")
RESTART = Ask(verb="restart", reason="memory")


class Replica(Server):
    """A server of a fleet with its desk. cut: it has no store."""

    def __init__(self, store: MemoryStore, folder: Path, name: str) -> None:
        self.name, self._shared_store = name, store
        self._none = MemoryStore()
        self._none.down = True
        super().__init__(folder / name)
        promotions: Any = SimpleNamespace(state=State(), counted=dict, models=frozenset)
        self.member = Member(Fleet(url="redis://memory", replica=name), store, promotions)
        self.member.serves = True
        self.join()

    def join(self) -> None:
        """As at a start: with what is on disk."""
        self.start()
        self.member.parts.clear()
        self.desk.keeper = self.kept = SharedBook(self.member, self.desk.store, self.desk.book)
        self.member.parts.append(self.kept)

    def cut(self, *, off: bool) -> None:
        self.member.store = self._none if off else self._shared_store

    async def round(self) -> None:
        await self.member.start()
        await self.desk.look()

    @property
    def states(self) -> dict[int, str]:
        return {each.number: each.state for each in self.desk.book.proposals}


async def three(store: MemoryStore, folder: Path) -> list[Replica]:
    servers = [Replica(store, folder, name) for name in "abc"]
    await rounds(*servers)
    return servers


async def rounds(*servers: Replica, count: int = 2) -> None:
    for _ in range(count):
        for each in servers:
            await each.round()


async def propose(server: Replica, of: Ask | None = None, needed: int = 1) -> Proposal:
    return await server.desk.propose(of or ask(reason="better"), ADA, needed)


def executed(*servers: Replica) -> list[tuple[str, int]]:
    return [(each.name, number) for each in servers for number in each.done]


@on_a_loop
async def test_a_proposal_is_seen_everywhere_and_executed_once_where_it_was_approved_last(tmp_path: Path) -> None:
    store = MemoryStore()
    a, b, c = await three(store, tmp_path)
    assert (await propose(a, needed=2)).number == 1
    for server, by in ((b, BOB), (c, EVE)):
        await server.desk.refresh()
        await server.desk.approve(1, by, "tested")
    await rounds(a, b, c)
    assert executed(a, b, c) == [("c", 1)]
    late = Replica(store, tmp_path, "late")
    await rounds(late)
    for each in (a, b, c, late):
        proposal = each.desk.book.find(1)
        assert (proposal.state, proposal.approvers, proposal.on) == ("done", ("bob", "eve"), "c")
        assert each.states == {1: "done"}


@on_a_loop
async def test_two_approvals_at_the_same_time_on_two_servers_both_count_and_one_of_one_approver_once(
    tmp_path: Path,
) -> None:
    a, b, c = await three(MemoryStore(), tmp_path)
    await propose(a, needed=3)
    await rounds(b, c)
    await asyncio.gather(b.desk.approve(1, BOB, ""), c.desk.approve(1, EVE, ""))
    await rounds(a)
    assert sorted(a.desk.book.find(1).approvers) == ["bob", "eve"]
    for first, other in ((b, c), (a, b)):
        found = await asyncio.gather(
            first.desk.approve(1, DAN, ""), other.desk.approve(1, BOB, ""), return_exceptions=True
        )
        refused = [each for each in found if isinstance(each, ProblemsFound)]
        assert any("bob has approved it already" in str(each) or "it is done" in str(each) for each in refused)
    await rounds(a, b, c)
    assert [number for _, number in executed(a, b, c)] == [1], "by dan, and once"


@on_a_loop
async def test_who_approves_on_a_server_that_has_not_heard_of_it_yet_counts_once(tmp_path: Path) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    await propose(a, needed=2)
    await rounds(b)
    await a.desk.approve(1, BOB, "")
    with pytest.raises(ProblemsFound, match="bob has approved it already"):
        await b.desk.approve(1, BOB, "")
    assert b.desk.book.find(1).approvers == ("bob",)


@on_a_loop
async def test_numbers_are_the_fleets_whoever_proposes_at_the_same_time(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    made = await asyncio.gather(*(propose(each, ask(version)) for version, each in enumerate(servers, 2)))
    assert sorted(each.number for each in made) == [1, 2, 3]
    await rounds(*servers)
    books = [[(p.number, p.ask.version, p.on) for p in each.desk.book.proposals] for each in servers]
    assert books[0] == books[1] == books[2]
    for each, proposal in zip(servers, made, strict=True):
        records = [r for r in each.trail.records if r.verb == "proposal.open" and r.result == "done"]
        assert [r.proposal for r in records] == [proposal.number], "the trail has the number that it got"


@on_a_loop
async def test_the_same_is_proposed_once_in_the_fleet(tmp_path: Path) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    found = await asyncio.gather(propose(a), propose(b), return_exceptions=True)
    assert sum(isinstance(each, ProblemsFound) for each in found) == 1
    await rounds(a, b)
    assert a.states == b.states == {1: "open"}


@on_a_loop
async def test_rejected_or_withdrawn_on_one_server_it_is_so_on_all(tmp_path: Path) -> None:
    a, b, c = await three(MemoryStore(), tmp_path)
    for version in (2, 3):
        await propose(a, ask(version))
    await rounds(b, c)
    await b.desk.reject(1, BOB, "no")
    await c.desk.withdraw(2, ADA, "a typo")
    with pytest.raises(ProblemsFound, match="it is rejected: no"):
        await c.desk.approve(1, EVE, "")
    await rounds(a, b, c)
    assert a.states == b.states == c.states == {1: "rejected", 2: "withdrawn"}


@on_a_loop
async def test_without_the_store_nothing_is_decided_and_what_was_known_is_shown(tmp_path: Path) -> None:
    store = MemoryStore()
    a, b, c = await three(store, tmp_path)
    await propose(a)
    await rounds(b, c)
    store.down = True
    await rounds(a, b, c)
    assert b.states == {1: "open"}
    acts: list[Callable[[], Awaitable[Any]]] = [
        lambda: b.desk.approve(1, BOB, ""),
        lambda: b.desk.reject(1, BOB, "no"),
        lambda: a.desk.withdraw(1, ADA, "no"),
        lambda: propose(b, ask(3)),
    ]
    for act in acts:
        with pytest.raises(ProblemsFound, match="memory cannot be reached"):
            await act()
    assert ("proposal.approve", "refused") in b.trail.told
    store.down = False
    await rounds(a, b, c)
    assert a.states == b.states == {1: "open"}
    await b.desk.approve(1, BOB, "")
    assert executed(a, b, c) == [("b", 1)]


@on_a_loop
async def test_glass_is_broken_without_the_store_which_is_told_afterwards_also_over_a_restart(tmp_path: Path) -> None:
    a, b, c = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b, c)
    b.cut(off=True)
    await rounds(b)
    glass = await b.desk.break_glass(ask(reason="incident 8"), EVE)
    assert (glass.number >= ALONE, glass.state, executed(b)) == (True, "done", [("b", glass.number)])
    b.join()
    assert b.states == {1: "void", glass.number: "done"}
    await rounds(a, c)
    assert a.states == {1: "open"}
    b.cut(off=False)
    await rounds(b, a, c)
    assert a.states == c.states == {1: "void", glass.number: "done"}
    assert [each.number for each in c.desk.book.unreviewed] == [glass.number]
    await c.desk.review(glass.number, BOB, "it was needed")
    await rounds(b, a)
    assert (a.desk.book.unreviewed, b.desk.book.unreviewed, a.desk.book.last) == ((), (), 1)
    assert executed(a, b, c) == [("b", glass.number)]
    assert (b.folder / UNTOLD).exists() and b'"number"' not in (b.folder / UNTOLD).read_bytes()


@on_a_loop
async def test_glass_is_not_broken_where_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (a, *_) = await three(MemoryStore(), tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_module, "replace_file", full)
    with pytest.raises(ProblemsFound, match="proposals cannot be written"):
        await a.desk.break_glass(ask(), EVE)
    assert (a.done, a.states) == ([], {})


@on_a_loop
async def test_what_ended_after_the_store_was_lost_is_told_when_it_is_back(tmp_path: Path) -> None:
    a, b, c = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b, c)
    b.fails = lambda: b.cut(off=True)
    assert (await b.desk.approve(1, BOB, "")).state == "done"
    await rounds(a, b, c)
    assert (a.states, b.states) == ({1: "executing"}, {1: "done"})
    b.join()
    b.cut(off=False)
    await rounds(b, a, c)
    assert a.states == b.states == c.states == {1: "done"}
    assert executed(a, b, c) == [("b", 1)]


@on_a_loop
async def test_an_approval_that_the_store_has_taken_without_an_answer_counts_and_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    a, b, _ = await three(store, tmp_path)
    await propose(a)
    await rounds(b)
    swap = store.swap

    async def no_answer(*given: Any) -> Document | None:
        await swap(*given)
        monkeypatch.setattr(store, "swap", swap)
        raise StoreError("no answer in time")

    monkeypatch.setattr(store, "swap", no_answer)
    assert (await b.desk.approve(1, BOB, "")).state == "done"
    await rounds(a, b)
    assert (a.states, executed(a, b)) == ({1: "done"}, [("b", 1)])


@on_a_loop
async def test_an_approval_that_may_be_there_is_executed_once_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    a, b, _ = await three(store, tmp_path)
    await propose(a)
    await rounds(b)
    swap = store.swap

    async def gone(*given: Any) -> Document | None:
        await swap(*given)
        store.down = True
        raise StoreError("no answer in time")

    monkeypatch.setattr(store, "swap", gone)
    with pytest.raises(ProblemsFound, match="it is not known whether this was done"):
        await b.desk.approve(1, BOB, "")
    assert b.done == []
    monkeypatch.setattr(store, "swap", swap)
    store.down = False
    await rounds(a, b)
    assert (a.states, executed(a, b)) == ({1: "done"}, [("b", 1)])


@on_a_loop
async def test_what_is_of_one_server_is_executed_there_wherever_it_is_approved(tmp_path: Path) -> None:
    a, b, c = await three(MemoryStore(), tmp_path)
    await propose(a, RESTART)
    await rounds(a, b, c)
    b.digest = "sha256:of other alarms"
    assert (await b.desk.approve(1, BOB, "")).state == "executing"
    await rounds(b, c)
    assert executed(a, b, c) == []
    await rounds(a, b, c, count=3)
    assert executed(a, b, c) == [("a", 1)]
    assert b.states == {1: "done"}


@on_a_loop
async def test_files_that_differ_on_another_server_end_no_proposal(tmp_path: Path) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b)
    b.digest = "sha256:others"
    with pytest.raises(ProblemsFound, match=r"on this server its files have changed.*\n?.*Approve it on a"):
        await b.desk.approve(1, BOB, "")
    assert b.states == {1: "open"}
    a.digest = "sha256:others"
    with pytest.raises(ProblemsFound, match="it is void"):
        await a.desk.approve(1, BOB, "")
    await rounds(b)
    assert (b.states, executed(a, b)) == ({1: "void"}, [])


@on_a_loop
@pytest.mark.parametrize(("asked", "was_done", "ends", "does"), [
    (ask(), False, "done", [("a", 1)]),
    (ask(), True, "done", [("a", 1)]),
    (RESTART, False, "failed", []),
])  # fmt: skip
async def test_the_leader_looks_after_what_a_server_has_left_that_is_gone(  # noqa: PLR0917
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Ask, was_done: bool, ends: str, does: list[Any]
) -> None:
    now = [0.0]
    store = MemoryStore()
    a, b, c = await three(store, tmp_path)
    assert a.member.leads
    await propose(c, asked)
    await rounds(b, c)
    await (b if asked.verb == "restart" else c).desk.keeper.put(
        lambda book: book.approved(1, approval(BOB, 0.0), str).placed(1, "c")
    )
    await rounds(a, b)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    await rounds(a, b)
    assert a.states == {1: "executing"}
    store._said.pop("c")
    await rounds(a, b)
    now[0] += KEPT_SECONDS - 1
    await rounds(a, b)
    assert (a.states, executed(a, b, c)) == ({1: "executing"}, []), "the store may have lost what it knew"
    a.done += [1] if was_done else []
    now[0] += 1
    await rounds(a, b)
    assert (a.states, b.states, executed(a, b, c)) == ({1: ends}, {1: ends}, does)


@on_a_loop
async def test_a_store_that_has_lost_its_data_gets_the_proposals_back_from_who_knows_most(tmp_path: Path) -> None:
    store = MemoryStore()
    a, b, c = await three(store, tmp_path)
    await propose(a, needed=2)
    await rounds(a, b, c)
    c.cut(off=True)
    await b.desk.approve(1, BOB, "")
    await propose(b, ask(3))
    await rounds(a, b)
    store.lose()
    c.cut(off=False)
    await rounds(c)
    c.now = 5.0
    for version in (7, 8, 9):
        await propose(c, ask(version))
        await c.desk.withdraw(c.desk.book.last, ADA, "as often as the others have changed something, and more")
    assert decoded(store.documents[NAME].data)[0].find(1).approvers == (), "it has missed the approval"
    await rounds(a, b, c)
    for each in (a, b, c):
        assert each.desk.book.find(1).approvers == ("bob",)
        assert each.states == {1: "open", 2: "open", 3: "withdrawn", 4: "withdrawn"}
        assert each.desk.book.find(2).ask.version == "3", "the number was its first"
    await c.desk.approve(1, EVE, "")
    assert (await propose(a, ask(4))).number == 5
    assert executed(a, b, c) == [("c", 1)]


@on_a_loop
async def test_what_cannot_be_read_is_told_and_nothing_is_decided_on_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    a, b, _ = await three(store, tmp_path)
    await propose(a)
    await rounds(b)
    store.documents[NAME] = Document(99, b"no book")
    store._revision += 1
    with caplog.at_level(logging.ERROR, "modelward.fleet"):
        await rounds(a, b)
    assert "what the store has of proposals is none" in caplog.text
    assert (a.member.counts["malformed"] > 0, b.states) == (True, {1: "open"})
    with pytest.raises(ProblemsFound, match="no proposals that can be read"):
        await b.desk.approve(1, BOB, "")
    assert (await b.desk.break_glass(ask(3), EVE)).state == "done"
    del store.documents[NAME]
    store._revision += 1
    await rounds(a, b)
    await b.desk.approve(1, BOB, "")
    assert sorted(b.states.values()) == ["done", "done"]


@on_a_loop
async def test_a_server_that_was_alone_joins_with_what_is_to_be_reviewed_and_the_first_with_everything(
    tmp_path: Path,
) -> None:
    for name in "ab":
        alone = Server(tmp_path / name)
        await alone.desk.propose(ask(), ADA, 1)
        await alone.desk.break_glass(ask(3, reason=name), EVE)
    store = MemoryStore()
    a, b = (Replica(store, tmp_path, name) for name in "ab")
    await rounds(a, b)
    assert a.desk.book == b.desk.book
    assert a.states.pop(1) == "open"
    unreviewed = [(each.number >= ALONE, each.ask.reason) for each in a.desk.book.unreviewed]
    assert unreviewed == [(False, "a"), (True, "b")]
    assert a.desk.book.last == 2
    b.join()
    await rounds(b, a)
    assert len(a.desk.book.unreviewed) == 2, "and once"


@on_a_loop
async def test_it_expires_once_in_the_fleet(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    await propose(servers[0])
    await rounds(*servers)
    for each in servers:
        each.now = 1e9
    await rounds(*servers)
    assert [each.states for each in servers] == [{1: "expired"}] * 3
    assert sum(told == ("proposal.expire", "done") for each in servers for told in each.trail.told) == 1


@on_a_loop
async def test_a_file_of_what_is_untold_that_cannot_be_read_keeps_the_server_from_starting(tmp_path: Path) -> None:
    (a, *_) = await three(MemoryStore(), tmp_path)
    await propose(a)
    (a.folder / UNTOLD).write_text("{")
    with pytest.raises(ProblemsFound, match="was not told yet"):
        a.join()


def test_a_book_that_nobody_has_written_to_is_not_put_into_the_store(tmp_path: Path) -> None:
    async def run() -> None:
        store = MemoryStore()
        (a, *_) = await three(store, tmp_path)
        assert (a.desk.book, NAME in store.documents) == (Book(), False)

    asyncio.run(run())


def refused_by(*problems: str) -> Callable[[], None]:
    def fail() -> None:
        raise ProblemsFound([Problem(each, "") for each in problems])

    return fail


@on_a_loop
async def test_what_fails_has_failed_for_all_and_is_not_tried_elsewhere(tmp_path: Path) -> None:
    a, b, c = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b, c)
    b.fails = refused_by("version 2 is not served here")
    assert (await b.desk.approve(1, BOB, "")).state == "failed"
    await rounds(a, b, c)
    assert (c.states, executed(a, b, c)) == ({1: "failed"}, [])


@on_a_loop
async def test_a_look_in_the_middle_of_an_approval_does_not_execute_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b)
    settle = b.trail.settle

    looks = []

    async def slowly(record: Record) -> bool:
        looks.append(asyncio.get_running_loop().create_task(b.desk.look()))
        for _ in range(20):
            await asyncio.sleep(0)
        return await settle(record)

    monkeypatch.setattr(b.trail, "settle", slowly)
    await b.desk.approve(1, BOB, "")
    await asyncio.gather(*looks)
    assert len(looks) == 1
    await rounds(a, b)
    assert executed(a, b) == [("b", 1)]


@on_a_loop
@pytest.mark.parametrize("number", [1, ALONE + 5])
async def test_what_signatures_have_approved_at_a_start_is_told_to_the_fleet(tmp_path: Path, number: int) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b)
    book = b.desk.book
    if number > ALONE:
        book = book.broken(ask(3), ADA, 0.0, number=number)
        book = book.with_(structs.replace(book.find(number), break_glass=False))
    else:
        book = book.approved(1, approval(BOB, 0.0), str).placed(1, "")
    b.desk.store.save(book)
    b.join()
    b.done.append(number)  # which the start has followed
    await rounds(b, a)
    assert a.desk.book.find(number).state == "done"
    assert (executed(a), b.done) == ([], [number])


@on_a_loop
async def test_who_knows_more_than_the_store_knows_so_after_a_restart_too(tmp_path: Path) -> None:
    store = MemoryStore()
    a, b, _ = await three(store, tmp_path)
    await propose(a, needed=2)
    await rounds(a, b)
    a.cut(off=True)
    await b.desk.approve(1, BOB, "")
    store.lose()
    b.join()
    a.cut(off=False)
    await rounds(a)
    assert store.documents[NAME].epoch > 0
    await rounds(b, a)
    assert [each.desk.book.find(1).approvers for each in (a, b)] == [("bob",), ("bob",)]


@on_a_loop
async def test_of_two_servers_with_one_name_none_does_what_the_other_one_may_be_doing(tmp_path: Path) -> None:
    store = MemoryStore()
    a, b = (Replica(store, tmp_path / folder, "a") for folder in "xy")
    await rounds(a, b)
    await propose(a)
    await rounds(b, a)
    assert a.member.namesake.is_there and b.member.namesake.is_there
    await a.desk.keeper.put(lambda book: book.approved(1, approval(BOB, 0.0), str))
    await rounds(b, a)
    assert (executed(a, b), b.states) == ([], {1: "executing"})


@on_a_loop
async def test_no_operator_waits_for_a_store_that_is_known_to_be_gone(tmp_path: Path) -> None:
    store = MemoryStore()
    (a, *_) = await three(store, tmp_path)
    await propose(a)
    store.down = True
    await a.desk.refresh()
    assert (a.member.up, a.member.counts["failed"]) == (False, 2), "at once, and not only at the next round"
    await a.desk.refresh()
    with pytest.raises(ProblemsFound, match="memory cannot be reached"):
        await a.desk.approve(1, BOB, "")
    assert (a.member.counts["failed"], a.states) == (2, {1: "open"})


@on_a_loop
@pytest.mark.parametrize("verb", ["restart", "pardon"])
async def test_what_is_of_one_server_is_done_there_however_soon_others_approve_it(tmp_path: Path, verb: Any) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    a.was_done = lambda proposal: True  # type: ignore[method-assign]  # after a start its workers are new
    await propose(a, Ask(verb=verb, reason="memory"))
    await b.member.start()
    await b.desk.approve(1, BOB, "")
    await rounds(a, b)
    assert (executed(a, b), a.states, b.states) == ([("a", 1)], {1: "done"}, {1: "done"})
    told = [each.result for each in a.trail.records if each.proposal == 1 and each.verb == verb]
    assert told == [], "what does it says so, and not what finds it done"


@on_a_loop
async def test_what_was_executing_when_the_server_began_was_done_by_that(tmp_path: Path) -> None:
    store = MemoryStore()
    a, b, _ = await three(store, tmp_path)
    await propose(a, RESTART)
    await rounds(a, b)
    await b.desk.approve(1, BOB, "")
    late = Replica(store, tmp_path, "a")
    late.was_done = lambda proposal: True  # type: ignore[method-assign]
    await rounds(late, b)
    assert (executed(a, late), late.states, b.states) == ([], {1: "done"}, {1: "done"})


def cut_off(server: Replica) -> Callable[[], None]:
    """In the middle of a promotion, which needs the store."""

    def fail() -> None:
        server.cut(off=True)
        refused_by("it has not answered, so it is not known whether this was done")()

    return fail


@on_a_loop
async def test_what_needs_a_store_that_is_gone_has_not_failed_and_is_done_once_it_is_back(tmp_path: Path) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b)
    b.fails = cut_off(b)
    with pytest.raises(ProblemsFound, match="is not known whether it is done"):
        await b.desk.approve(1, BOB, "")
    await rounds(b, count=3)
    assert (b.states, ("proposal.fail", "done") in b.trail.told) == ({1: "executing"}, False)
    assert "is not known whether it is done" in b.desk.told(b.desk.book.find(1)).why
    b.fails = lambda: None
    b.cut(off=False)
    await rounds(b, a)
    assert (a.states, b.states, executed(a, b)) == ({1: "done"}, {1: "done"}, [("b", 1)])
    assert not b.desk.told(b.desk.book.find(1)).why


@on_a_loop
async def test_a_failure_that_the_store_cannot_be_told_any_more_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b)
    b.fails = refused_by("it is full")
    settle = b.trail.settle

    async def cut(record: Record) -> bool:
        b.cut(off=record.verb == "proposal.fail")
        return await settle(record)

    monkeypatch.setattr(b.trail, "settle", cut)
    with pytest.raises(ProblemsFound, match="is not known whether it is done"):
        await b.desk.approve(1, BOB, "")
    assert b.states == {1: "executing"}
    b.fails = lambda: None
    b.cut(off=False)
    await rounds(b, a)
    assert (a.states, executed(a, b)) == ({1: "done"}, [("b", 1)])


@on_a_loop
async def test_a_restart_that_failed_without_the_store_was_not_done(tmp_path: Path) -> None:
    a, _, _ = await three(MemoryStore(), tmp_path)
    a.was_done = lambda proposal: True  # type: ignore[method-assign]
    await propose(a, RESTART)
    a.digest, a.fails = "", cut_off(a)
    with pytest.raises(ProblemsFound, match="is not known whether it is done"):
        await a.desk.approve(1, BOB, "")
    a.fails = lambda: None
    a.cut(off=False)
    await rounds(a)
    assert (a.states, executed(a)) == ({1: "done"}, [("a", 1)])


@on_a_loop
async def test_what_another_server_has_done_meanwhile_is_done_for_the_one_that_comes_back(tmp_path: Path) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b)
    b.fails = cut_off(b)
    with pytest.raises(ProblemsFound, match="is not known whether it is done"):
        await b.desk.approve(1, BOB, "")
    await rounds(a)
    await a.desk.keeper.put(lambda book: book.placed(1, "a").executed(1, 5.0))
    b.cut(off=False)
    await rounds(b, a)
    assert (a.states, b.states, executed(a, b)) == ({1: "done"}, {1: "done"}, [])


@on_a_loop
async def test_a_promotion_whose_answer_was_lost_was_done(tmp_path: Path) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    await propose(a)
    await rounds(b)

    def lost() -> None:
        b.done.append(1)
        refused_by("it has not answered, so it is not known whether this was done")()

    b.fails = lost
    assert (await b.desk.approve(1, BOB, "")).state == "done"
    assert b.done == [1]


@on_a_loop
async def test_broken_glass_that_fails_without_the_store_has_failed(tmp_path: Path) -> None:
    a, _, _ = await three(MemoryStore(), tmp_path)
    a.fails = cut_off(a)
    assert (await a.desk.break_glass(ask(reason="incident 8"), EVE)).state == "failed"


@on_a_loop
@pytest.mark.parametrize("last", [LARGEST_NUMBER, LARGEST_NUMBER - 1])
async def test_a_last_number_that_was_forged_keeps_no_server_from_proposing(tmp_path: Path, last: int) -> None:
    store = MemoryStore()
    a, b, _ = await three(store, tmp_path)
    await propose(a)
    book, line = decoded(store.documents[NAME].data)
    store.documents[NAME] = Document(99, encoded(structs.replace(book, last=last), line)[1])
    store._revision += 1
    await rounds(a, b)
    for version, each in enumerate((a, b, a, b), 5):
        assert (await propose(each, ask(version))).ask.version == str(version)
        await rounds(a, b)
    assert a.states == b.states
    assert sorted(each.ask.version for each in b.desk.book.open) == ["2", "5", "6", "7", "8"]
    b.digest = ask(8).digest
    await b.desk.approve(b.desk.book.last, BOB, "")
    assert [each.ask.version for each in b.desk.book.proposals if each.state == "done"] == ["8"]


@on_a_loop
async def test_a_last_number_that_was_kept_is_mended_at_a_start(tmp_path: Path) -> None:
    store = MemoryStore()
    (a, *_) = await three(store, tmp_path)
    await propose(a)
    a.desk.store.save(structs.replace(a.desk.book, last=ALONE))
    del store.documents[NAME]
    store._revision += 1
    a.join()
    await rounds(a)
    assert decoded(store.documents[NAME].data)[0].last == 1
    assert ((await propose(a, ask(3))).number, decoded(store.documents[NAME].data)[0].last) == (2, 2)


@on_a_loop
async def test_what_other_servers_would_not_read_is_not_proposed(tmp_path: Path) -> None:
    a, b, _ = await three(MemoryStore(), tmp_path)
    with pytest.raises(ProblemsFound, match="names that are none"):
        await propose(a, Ask(verb="pardon", model="m" * 300, reason="why"))
    with pytest.raises(ProblemsFound, match="names that are none"):
        await a.desk.break_glass(Ask(verb="pardon", model="m\n", reason="why"), EVE)
    await rounds(a, b)
    assert (a.states, b.states, a.done) == ({}, {}, [])


@on_a_loop
async def test_what_has_ended_is_told_also_where_the_fleet_has_no_room_to_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _, _ = await three(MemoryStore(), tmp_path)
    for version in (2, 3, 4):
        await propose(a, ask(version))
    glass = await a.desk.break_glass(ask(5, reason="incident 8"), EVE)
    full = shared_book._shorter
    monkeypatch.setattr(shared_book, "_shorter", lambda book: [*full(book)][3:])
    assert (await a.desk.approve(1, BOB, "")).state == "done"
    assert (await a.desk.reject(2, BOB, "no")).state == "rejected"
    assert (await a.desk.withdraw(3, ADA, "no")).state == "withdrawn"
    assert (await a.desk.review(glass.number, BOB, "seen")).reviewed is not None
    assert a.states == {}
