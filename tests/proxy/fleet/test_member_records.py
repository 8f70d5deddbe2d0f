"""What a fleet's store holds that is none of a server's records, or not one that it can follow."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from msgspec import structs

from modelward.config.schema import Config
from modelward.fleet.record import MODEL
from modelward.fleet.store import Document, NotTaken
from modelward.promotion import epochs
from modelward.promotion import store as kept
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.fleet.servers import One, Words, rounds, three, wanted
from tests.proxy.promotion.served import on_a_loop


@on_a_loop
async def test_a_malformed_record_changes_nothing_is_counted_and_gives_way_to_a_decision(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    servers = await three(store, tmp_path)
    await servers[0].promoter.promote(wanted(50, 100))
    await rounds(*servers)
    for number, data in enumerate((b"{", b"\xff", b"{}" * 40_000, b'{"promotion": {"version": "3"}}')):
        document = await written(store, data)
        with caplog.at_level(logging.ERROR):
            await rounds(*servers)
        assert [each.share for each in servers] == [50] * 3
        assert store.documents[MODEL + "m"] == document, "another release may read it"
        assert [each.member.counts["malformed"] for each in servers] == [number + 1] * 3
    assert "is none" in caplog.text
    await servers[0].promoter.rollback("m")
    await rounds(*servers, count=2)
    assert [each.share for each in servers] == [0] * 3


async def written(store: MemoryStore, data: bytes) -> Document:
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
    assert kept.Store(tmp_path / "a").load() == server.promoter.state


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
    await written(store, json.dumps(record).encode())
    await rounds(*servers)
    assert "see who else writes to its store" in caplog.text


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
