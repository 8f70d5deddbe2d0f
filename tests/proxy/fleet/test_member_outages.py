"""A fleet whose store, leader or one of whose servers is gone for a while."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from modelward.fleet.record import MODEL
from modelward.fleet.store import LEASE_SECONDS
from modelward.models.facts import Facts
from modelward.problem import ProblemsFound
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.fleet.servers import One, rounds, three, wanted
from tests.proxy.promotion.served import enough, on_a_loop
from tests.proxy.promotion.test_guard import arm


@on_a_loop
async def test_a_server_that_is_cut_off_keeps_what_it_has_promotes_nothing_and_takes_back_alone(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    near, far = servers[:2], servers[2]
    await near[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    far.cut(off=True)
    await rounds(*servers, count=2)
    assert far.member.up is False
    with pytest.raises(
        ProblemsFound, match="cannot be reached: it is down; a promotion moves all servers of the fleet"
    ):
        await far.promoter.promote(wanted(force="now"))
    await near[0].promoter.promote(wanted(force="now"))
    await rounds(*servers, looks=True)
    assert [each.share for each in servers] == [100, 100, 50]
    enough(far.served)
    for _ in range(2):
        far.served.answer(v2=arm(400), v3=arm(400, errors=400))
        await far.promoter.look()
    assert [each.share for each in servers] == [100, 100, 0]
    far.cut(off=False)
    await rounds(*servers, count=2)
    assert [each.share for each in servers] == [0] * 3, "no step undoes what was taken back"
    await near[1].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    assert [each.share for each in servers] == [50] * 3, "another promotion does"


@on_a_loop
async def test_an_old_promotion_does_not_come_back_with_a_server_that_missed_its_end(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    servers[2].cut(off=True)
    await rounds(*servers, count=2)
    await servers[0].promoter.rollback("m")
    await rounds(*servers)
    assert [each.share for each in servers] == [0, 0, 50]
    servers[2].cut(off=False)
    await rounds(servers[2], *servers)
    assert [each.share for each in servers] == [0] * 3


@on_a_loop
async def test_a_store_that_has_lost_its_data_gets_it_back_also_after_a_restart(tmp_path: Path) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    before = store.documents[MODEL + "m"].epoch
    store.lose()
    again = await One(store, tmp_path, "c").begin()
    await rounds(again)
    assert store.documents[MODEL + "m"].epoch >= before
    await rounds(servers[0], servers[1])
    assert [each.share for each in (*servers[:2], again)] == [50] * 3


@on_a_loop
async def test_another_leads_when_the_one_that_leads_is_silent_or_does_not_follow(tmp_path: Path) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    assert [each.member.leads for each in servers] == [True, False, False]
    store.now += LEASE_SECONDS
    await rounds(servers[1], servers[2], servers[0])
    assert [each.member.leads for each in servers] == [False, True, False]
    await servers[1].promoter.promote(wanted(50, 100))
    servers[1].served.held["3"] = Facts("others", profile=True, canary=True)
    await rounds(*servers, count=2)
    assert [each.member.leads for each in servers] == [False, False, True]


@on_a_loop
async def test_a_lease_without_an_end_is_over_after_the_longest_one_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    store.lead_for_ever("nobody/1")
    await rounds(*servers)
    assert not any(each.member.leads for each in servers)
    assert "the lease of nobody/1 had no end in the store" in caplog.text
    store.now += LEASE_SECONDS
    await rounds(*servers)
    assert [each.member.leads for each in servers] == [True, False, False]


@on_a_loop
async def test_while_the_store_hangs_each_server_judges_alone_though_it_is_not_given_up_yet(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    assert [each.member.judge for each in servers] == ["", "a", "a"]
    for each in servers:
        each.member._heard -= LEASE_SECONDS
    assert all(each.member.up for each in servers)
    assert [each.member.judge for each in servers] == [""] * 3
    assert not any(each.member.leads for each in servers)


@on_a_loop
async def test_an_error_in_what_is_followed_is_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = await three(MemoryStore(), tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    with monkeypatch.context() as patched:
        patched.setattr(servers[1].served, "share", None)
        await rounds(servers[1])
    assert "could not be followed" in caplog.text
    await rounds(*servers)
    await servers[0].promoter.promote(wanted(force="now"))
    await rounds(*servers)
    assert servers[1].share == 100


@on_a_loop
async def test_it_speaks_at_once_when_something_was_taken_back_and_ends_when_it_is_stopped(tmp_path: Path) -> None:
    store = MemoryStore()
    server = await One(store, tmp_path, "a").begin()
    server.member.settings = server.member.settings.model_copy(update={"interval": 3600 * 10**9})
    running = asyncio.get_running_loop().create_task(server.member.run())
    await asyncio.sleep(0)
    await server.promoter.promote(wanted(50, 100))
    await server.promoter.rollback("m")
    began = time.monotonic()
    while b"rolled back" not in store.documents[MODEL + "m"].data:
        await asyncio.sleep(0.001)
        assert time.monotonic() < began + 30
    assert (await store.notes()).keys() == {"a"}
    running.cancel()
    await asyncio.wait([running])
    await server.member.stop()
    assert await store.notes() == {}
