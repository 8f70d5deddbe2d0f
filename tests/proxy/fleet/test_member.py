"""Servers of one fleet and their promotions: what each does, round by round."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from modelward.fleet.member import PAIRS_SECONDS
from modelward.models.facts import Facts
from modelward.problem import ProblemsFound
from modelward.shadow.pairs import Pairs, essence
from modelward_native.telemetry.histogram import EDGES
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.fleet.servers import One, rounds, three, wanted
from tests.proxy.promotion.served import enough, on_a_loop
from tests.proxy.promotion.test_guard import arm


@on_a_loop
async def test_one_promotion_moves_all_and_a_late_server_begins_with_its_step(tmp_path: Path) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await servers[1].promoter.promote(wanted(25, 100))
    await rounds(*servers)
    late = await One(store, tmp_path, "late").begin()
    assert [each.share for each in (*servers, late)] == [25] * 4
    await late.promoter.rollback("m", "incident 8", "alice")
    await rounds(late, *servers)
    assert [each.share for each in (*servers, late)] == [0] * 4
    events = [each.promoter.state.events[-1] for each in servers]
    assert {(event.what, event.why, event.actor) for event in events} == {("rolled back", "incident 8", "alice")}


@on_a_loop
async def test_a_step_ends_by_what_all_have_counted_together_and_none_alone(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path, promotion={"hold": "0.1s"})
    await servers[0].promoter.promote(wanted(10, 100, auto=True))
    await rounds(*servers, count=2)
    for each in servers:
        each.served.now += 10
    enough(servers[0].served, 2000)
    await rounds(*servers, count=3, looks=True)
    assert servers[0].member.leads
    assert [each.promoter.known("m").judge for each in servers] == ["", "a", "a"]
    assert [each.share for each in servers] == [10] * 3, "it has not answered enough"
    for each in servers[1:]:
        enough(each.served, 8000)
    await rounds(*servers, count=2, looks=True)
    assert [each.share for each in servers] == [100] * 3
    known = servers[0].promoter.known("m").promotion
    assert all(each.promoter.state.promotions["m"] == known for each in servers)


@on_a_loop
async def test_by_hand_too_a_step_needs_what_all_have_counted_whichever_server_is_asked(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    await servers[0].promoter.promote(wanted(10, 100))
    await rounds(*servers)
    enough(servers[0].served, 16_000)
    with pytest.raises(ProblemsFound, match="have not shown yet"):
        await servers[2].promoter.promote(wanted())
    await rounds(*servers)
    await servers[2].promoter.promote(wanted())
    await rounds(*servers)
    assert [each.share for each in servers] == [100] * 3


@on_a_loop
async def test_pairs_of_a_shadow_are_told_and_heard_where_the_files_are_the_same(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    key, sums = ("m", "2", "3"), {"compared": 7, "primary_failed": 0, "shadow_failed": 1, "both_failed": 0}
    whole = essence(
        sums | {"disagreement": 0.5, "latency_primary": [0] * len(EDGES), "latency_shadow": [1] * len(EDGES)}
    )
    for each, files in zip(servers, ("one two", "one two", "one three"), strict=True):
        each.member.pairs = lambda most, files=files: {key: Pairs(whole, None, {2: whole}, files)}  # type: ignore[misc]
        each.member._paired = -PAIRS_SECONDS
    await rounds(*servers)
    for each in servers:
        await each.member.gather()
    await rounds(servers[0])
    assert servers[1].member.others(key, "one two") == [Pairs(whole, None, {2: whole}, "one two")]
    assert servers[1].member.others(key, "") == servers[2].member.others(key, "one three") == []


@on_a_loop
async def test_failures_that_are_too_few_on_each_server_take_a_version_back_together(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers, looks=True)
    for each in servers:
        each.served.answer(v2=arm(3000), v3=arm(100, errors=6))
    alone = await One(MemoryStore(), tmp_path, "alone").begin()
    await rounds(alone)
    await alone.promoter.promote(wanted(50, 100))
    alone.served.answer(v2=arm(3000), v3=arm(100, errors=6))
    await rounds(alone, count=3, looks=True)
    assert alone.share == 50, "six of a hundred are no evidence"
    await rounds(*servers, count=3, looks=True)
    assert [each.share for each in servers] == [0] * 3
    assert servers[0].promoter.ended[("m", "rolled_back", "errors")] == 1
    assert not servers[1].promoter.ended, "it was decided once"


@on_a_loop
async def test_a_canary_that_fails_on_one_server_takes_the_version_back_on_all(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers, looks=True)
    failing = servers[2].served.counted["3"]
    servers[2].served.counted["3"] = structs.replace(failing, failing=1)
    await rounds(*servers, count=2, looks=True)
    assert [each.share for each in servers] == [0] * 3


@on_a_loop
async def test_a_proposal_of_another_server_with_the_same_number_is_not_taken_for_an_own_one(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    await servers[0].promoter.promote(wanted(50, 100, proposal=12, digest=""))
    await rounds(*servers)
    executed = [each.promoter.state.executed(12, 0.0, each.promoter.fleet.replica) for each in servers]
    assert executed == [True, False, False]
    servers[1].cut(off=True)
    await rounds(*servers, count=2)
    await servers[1].promoter.rollback("m", proposal=7)
    servers[1].cut(off=False)
    await rounds(*servers, count=2)
    executed = [each.promoter.state.executed(7, 0.0, each.promoter.fleet.replica) for each in servers]
    assert executed == [False, True, False]


@on_a_loop
async def test_two_who_ask_at_once_take_one_step(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    done = await asyncio.gather(
        *(each.promoter.promote(wanted(25, 50, 100, actor=name)) for each, name in zip(servers, "abc", strict=True)),
        return_exceptions=True,
    )
    assert [type(each).__name__ for each in done].count("ProblemsFound") == 2
    await rounds(*servers)
    assert [each.share for each in servers] == [25] * 3
    with pytest.raises(ProblemsFound, match="another server of the fleet was first"):
        await asyncio.gather(*(each.promoter.promote(wanted(force="now")) for each in servers))


@on_a_loop
async def test_a_server_with_other_files_keeps_the_shares_from_before_and_says_so(tmp_path: Path) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    other = One(store, tmp_path, "other")
    other.served.held["3"] = Facts("others", profile=True, canary=True)
    await other.begin()
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers, other, looks=True)
    assert [each.share for each in (*servers, other)] == [50, 50, 50, 0]
    assert other.promoter.held("m") == "version 3 has other files here"
    assert servers[0].promoter.held("m") == ""
    enough(other.served)
    other.served.answer(v3=arm(400, errors=400))
    await rounds(*servers, other, count=2, looks=True)
    assert servers[0].share == 50, "what it counts is of other files"
    for _ in range(2):
        await servers[0].promoter.promote(wanted(force="now"))
    await rounds(*servers, other)
    assert servers[0].promoter.state.promotions["m"].phase == "done"
    assert other.share == 100, "as on a server that is alone"
    assert other.promoter.held("m") == "version 3 has other files here", "and it is told"
