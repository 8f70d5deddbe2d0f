"""Servers of one fleet, their promotions and a store that goes away: what each does, round by round."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path

import pytest
from msgspec import structs

from modelward.config.fleet import Fleet
from modelward.config.schema import Config
from modelward.fleet.key import KeptKey
from modelward.fleet.member import PAIRS_SECONDS, Member
from modelward.fleet.record import MODEL, Malformed
from modelward.fleet.store import LEASE_SECONDS, Document, NotTaken
from modelward.models.facts import Facts
from modelward.problem import ProblemsFound
from modelward.promotion import epochs
from modelward.promotion import store as kept
from modelward.promotion.asked import Wanted
from modelward.promotion.promoter import Promoter
from modelward.shadow.pairs import Pairs, essence
from modelward_native.telemetry.histogram import EDGES
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.promotion.served import Served, enough, on_a_loop
from tests.proxy.promotion.test_guard import arm


class One:
    """A server, its promotions and its part of the fleet. cut: it has no store."""

    def __init__(self, store: MemoryStore, folder: Path, name: str, **settings: object) -> None:
        self.served = Served(**settings)
        self.promoter = Promoter(self.served, folder / name, lambda: self.served.now)
        self._store, self._none = store, MemoryStore()
        self._none.down = True
        self.member = Member(Fleet(url="redis://memory", replica=name), store, self.promoter)
        self.promoter.fleet = self.member

    async def begin(self) -> One:
        await self.member.start()
        self.promoter.resume()
        self.member.serves = True
        await self.served.share(self.promoter.shares)
        return self

    def cut(self, *, off: bool) -> None:
        self.member.store = self._none if off else self._store

    @property
    def share(self) -> int:
        """Of version 3, in per cent."""
        return self.served.shared.get("m", {}).get("3", 0) // 100


async def three(store: MemoryStore, folder: Path, **settings: object) -> list[One]:
    servers = [await One(store, folder, name, **settings).begin() for name in "abc"]
    await rounds(*servers)
    return servers


async def rounds(*servers: One, count: int = 1, looks: bool = False) -> None:
    """Each speaks with the store, one after the other, and looks at its promotions."""
    for _ in range(count):
        for each in servers:
            await each.member.start()
        for each in servers if looks else ():
            await each.promoter.look()
    for each in servers if looks else ():
        await each.member.start()


def wanted(*steps: int, **more: object) -> Wanted:
    return Wanted("m", "3", steps or None, **more)  # type: ignore[arg-type]


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
async def test_a_server_that_is_cut_off_keeps_what_it_has_promotes_nothing_and_takes_back_alone(tmp_path: Path) -> None:
    servers = await three(MemoryStore(), tmp_path)
    near, far = servers[:2], servers[2]
    await near[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    far.cut(off=True)
    await rounds(*servers, count=2)
    assert far.member.up is False
    with pytest.raises(ProblemsFound, match="cannot be reached"):
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


@on_a_loop
async def test_a_malformed_record_changes_nothing_is_counted_and_gives_way_to_a_decision(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    for number, data in enumerate((b"{", b"\xff", b"{}" * 40_000, b'{"promotion": {"version": "3"}}')):
        document = await _written(store, data)
        with caplog.at_level(logging.ERROR):
            await rounds(*servers)
        assert [each.share for each in servers] == [50] * 3
        assert store.documents[MODEL + "m"] == document, "another release may read it"
        assert [each.member.counts["malformed"] for each in servers] == [number + 1] * 3
    assert "is none" in caplog.text
    await servers[0].promoter.rollback("m")
    await rounds(*servers, count=2)
    assert [each.share for each in servers] == [0] * 3


async def _written(store: MemoryStore, data: bytes) -> Document:
    there = store.documents[MODEL + "m"]
    assert await store.swap(MODEL + "m", there.epoch, there.epoch + 1, data) is None
    return store.documents[MODEL + "m"]


def forged(**more: object) -> bytes:
    """A record within all bounds, of about 60 KiB."""
    before = {"2": 1, **{f"{number:03}{'x' * 240}": 1 for number in range(220)}}
    given = {"version": "3", "before": before, "configured": {"2": 1}, "steps": [50, 100], "since": 1.0}
    promotion = {**given, "phase": "done", "epoch": 1, "began": 1, **more}
    return json.dumps({"promotion": promotion, "event": {"at": 1.0, "what": "promoted"}}).encode()


@on_a_loop
async def test_records_of_models_that_a_server_does_not_know_are_neither_taken_nor_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    for number in range(40):
        await store.swap(f"{MODEL}m{number}", 0, 1, forged() if number % 2 else b"{")
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    late = await One(store, tmp_path, "late").begin()
    assert [each.share for each in (*servers, late)] == [50] * 4
    assert all(each.promoter.state.promotions.keys() == {"m"} for each in (*servers, late))
    assert [each.member.counts["malformed"] for each in servers] == [0] * 3
    assert "is none" not in caplog.text


@on_a_loop
async def test_a_server_does_not_lead_while_a_model_is_promoted_that_it_does_not_know_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await store.swap(f"{MODEL}other", 0, 1, forged(phase="stepping"))
    await rounds(*servers, count=2)
    assert not any(each.member.leads for each in servers)
    assert "model other is promoted in the fleet and not known here: this server does not lead" in caplog.text


@on_a_loop
async def test_a_model_that_comes_later_is_followed_from_then_on(tmp_path: Path) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    server = One(store, tmp_path, "late")
    there = server.served.config
    server.served.config = Config()
    server.served.models = lambda: ()  # type: ignore[method-assign]
    await server.begin()
    assert server.share == 0
    server.served.config = there
    await rounds(server)
    assert server.share == 50


@on_a_loop
async def test_records_are_taken_only_while_the_state_can_be_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LARGEST_FILE", 4 << 20)
    monkeypatch.setattr(kept, "LARGEST_FOLLOWED", 1 << 20)
    store, names = MemoryStore(), [f"m{number:03}" for number in range(40)]
    for name in names:
        await store.swap(MODEL + name, 0, 1, forged())
    config = Config.model_validate({"models": {"m": {"versions": {"2": 1}}, **{name: {} for name in names}}})
    server = One(store, tmp_path, "a")
    server.served.config = config
    await server.begin()
    await rounds(server)
    assert 5 < len(server.promoter.state.promotions) < 20
    assert "is not followed: the state would be too long" in caplog.text
    await server.promoter.promote(wanted(50, 100))
    await server.promoter.rollback("m")
    again = One(MemoryStore(), tmp_path, "a")
    again.served.config = config
    await again.begin()
    assert again.promoter.state == server.promoter.state


@pytest.mark.parametrize(
    ("epoch", "named"),
    [
        (epochs.NEAR * 5, 1 << 62),
        (epochs.LARGEST // 2, epochs.LARGEST),
        (epochs.LARGEST - 1, epochs.LARGEST),
        (epochs.LARGEST, epochs.LARGEST),
        (epochs.LARGEST, 1),
        ((1 << 53) - 1, (1 << 53) - 1),
    ],
)
@on_a_loop
async def test_after_a_record_of_the_last_epoch_all_servers_still_follow_what_operators_do(
    tmp_path: Path, epoch: int, named: int
) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    record = json.loads(store.documents[MODEL + "m"].data)
    record["promotion"] |= {"epoch": epoch, "began": epoch, "phase": "done"}
    store.documents[MODEL + "m"] = Document(named, json.dumps(record).encode())
    store.changed()
    await rounds(*servers, count=2)
    assert len({each.share for each in servers}) == 1
    for server, steps in zip(servers, ((25, 100), (75, 100), (10, 100)), strict=True):
        await server.promoter.rollback("m")
        await rounds(*servers, count=2)
        assert [each.share for each in servers] == [0] * 3
        await server.promoter.promote(wanted(*steps))
        await rounds(*servers, count=2)
        assert [each.share for each in servers] == [steps[0]] * 3
    late = await One(store, tmp_path, "late").begin()
    assert late.share == 10
    store.lose()
    await rounds(*servers, late, count=2)
    await late.promoter.rollback("m")
    await rounds(*servers, late, count=2)
    assert [each.share for each in (*servers, late)] == [0] * 4


@on_a_loop
async def test_a_state_with_an_epoch_that_no_store_takes_is_mended_by_the_next_decision(tmp_path: Path) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    for each in servers:
        spoiled = structs.replace(each.promoter.state.promotions["m"], epoch=(1 << 53) - 1, began=(1 << 53) - 1)
        each.promoter.state = structs.replace(each.promoter.state, promotions={"m": spoiled})
    store.lose()
    await rounds(*servers, count=2)
    await servers[1].promoter.rollback("m")
    await rounds(*servers, count=2)
    assert [each.share for each in servers] == [0] * 3
    assert json.loads(store.documents[MODEL + "m"].data)["promotion"]["epoch"] < 10


@on_a_loop
async def test_a_record_that_jumps_ahead_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    record = json.loads(store.documents[MODEL + "m"].data)
    record["promotion"] |= {"epoch": epochs.NEAR + 5, "began": epochs.NEAR + 5}
    await _written(store, json.dumps(record).encode())
    await rounds(*servers)
    assert "see who else writes to its store" in caplog.text


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


class Full(MemoryStore):
    """It takes no document of one name."""

    refused = ""

    async def swap(self, name: str, before: int, epoch: int, data: bytes) -> Document | None:
        if name == self.refused:
            raise NotTaken("it is full")
        return await super().swap(name, before, epoch, data)


@on_a_loop
async def test_a_document_that_the_store_does_not_take_is_told_and_keeps_none_of_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Full()
    server = (await three(store, tmp_path))[0]
    words = Words(b"long")
    server.member.parts.append(words)
    await server.promoter.promote(wanted(50, 100))
    store.refused = MODEL + "m"
    await server.promoter.rollback("m")
    await rounds(server, count=3)
    assert store.documents["words"].data == b"long"
    assert server.member.counts["failed"] == 3
    assert caplog.text.count("the store does not take what this server has of model m: it is full") == 1
    assert server.member.up
    store.refused = ""
    server.promoter.fleet.told("m")
    await rounds(server)
    assert b"rolled back" in store.documents[MODEL + "m"].data


@on_a_loop
async def test_many_malformed_records_are_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, names = MemoryStore(), [f"m{number}" for number in range(1500)]
    for name in names:
        store.documents[MODEL + name] = Document(1, b"{")
    server = One(store, tmp_path, "a")
    server.served.config = Config.model_validate({"models": {name: {} for name in names}})
    with caplog.at_level(logging.ERROR):
        await server.member.start()
        store.changed()
        await rounds(server)
    assert caplog.text.count("is none") == 1
    assert server.member.counts["malformed"] == 3000


@on_a_loop
async def test_evidence_that_cannot_be_read_is_counted_and_left_out(tmp_path: Path) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    for data in (b"{", b"\xff\xfe", b"[]", b"{}" * 1_000_000):
        before = servers[0].member.counts["malformed"]
        await store.exchange("evil", identity="x", note=b"{", evidence=data, revision="", may_lead=False)
        await rounds(*servers, looks=True)
        assert servers[0].member.counts["malformed"] > before
    assert [each.share for each in servers] == [50] * 3


class Words:
    """A part of what is shared: the longer words count. looks: how often it was asked to look."""

    name = "words"

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.looks = 0

    def look(self) -> None:
        self.looks += 1

    async def reconcile(self, data: bytes | None) -> bytes | None:
        if data == b"{":
            raise Malformed("it is open")
        self.said = max(self.said, data or b"", key=len)
        return self.said if self.said != data else None


@on_a_loop
async def test_what_else_is_shared_is_one_document_that_all_come_to_agree_on(tmp_path: Path) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    parts = [Words(said) for said in (b"a", b"abc", b"ab")]
    for server, part in zip(servers, parts, strict=True):
        server.member.parts.append(part)
    await rounds(*servers, count=2)
    assert {part.said for part in parts} == {b"abc"}
    store.lose()
    store.documents["words"] = Document(7, b"{")
    await rounds(*servers)
    assert store.documents["words"] == Document(7, b"{")
    assert [server.member.counts["malformed"] for server in servers] == [1] * 3
    store.down = True
    await rounds(*servers, count=2)
    assert all(part.looks for part in parts), "what is said meanwhile is noted"


@on_a_loop
async def test_the_key_is_that_of_the_first_server(tmp_path: Path) -> None:
    store = MemoryStore()
    servers = [One(store, tmp_path, name) for name in "ab"]
    for each in servers:
        await each.member.start()
    assert await servers[0].member.key(b"a" * 16) == b"a" * 16
    assert await servers[1].member.key(b"b" * 16) == b"a" * 16
    store.down = True
    late = One(store, tmp_path, "c")
    await late.member.start()
    assert await late.member.key(b"c" * 16) == b"c" * 16


@on_a_loop
async def test_a_key_that_the_store_has_lost_is_put_back_and_another_one_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    server = await One(store, tmp_path, "a").begin()
    server.member.parts.append(KeptKey(await server.member.key(b"a" * 16)))
    store.lose()
    await rounds(server)
    assert store.documents["key"].data == (b"a" * 16).hex().encode()
    store.lose()
    store.documents["key"] = Document(1, (b"b" * 16).hex().encode())
    await rounds(server, count=2)
    assert caplog.text.count("the fleet has another key") == 1
    store.lose()
    store.documents["key"] = Document(1, b"none")
    await rounds(server)
    assert server.member.counts["malformed"] == 1


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
