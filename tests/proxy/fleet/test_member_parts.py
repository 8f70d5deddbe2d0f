"""What the servers of a fleet share besides promotions, and the key of callers."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.fleet.key import KeptKey
from modelward.fleet.store import Document
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.fleet.servers import One, Words, rounds, three
from tests.proxy.promotion.served import on_a_loop


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
