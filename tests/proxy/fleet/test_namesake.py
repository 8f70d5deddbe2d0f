"""Two servers of one fleet that have the same name find out; one that takes the place of another does not complain."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from modelward.fleet import namesake
from modelward.fleet.namesake import Namesake
from modelward.fleet.note import Note, decoded, encoded
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.fleet.servers import One, rounds


def note(identity: str) -> bytes:
    return encoded(Note(identity=identity))


def test_two_servers_with_one_name_both_find_out_and_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        store = MemoryStore()
        servers = [await One(store, tmp_path / folder, "a").begin() for folder in ("x", "y")]
        third = await One(store, tmp_path, "b").begin()
        await rounds(*servers, third, count=2)
        assert [each.member.namesake.is_there for each in (*servers, third)] == [True, True, False]
        assert "another server is called a too" in servers[0].member.words
        assert "another server" not in third.member.words

    with caplog.at_level(logging.ERROR, "modelward.fleet"):
        asyncio.run(run())
    said = [record.message for record in caplog.records]
    assert said == ["another server of the fleet is called a too: what both say and count takes turns; "
                    "set fleet.replica to another name on each"] * 2  # fmt: skip


def test_a_server_that_starts_again_is_no_other_one() -> None:
    again = Namesake("a", "a/new")
    again.look(note("a/old"))
    again.look(note("a/new"))
    again.look(b"")
    assert not again.is_there


def test_what_cannot_be_read_is_no_server() -> None:
    one = Namesake("a", "a/1")
    for said in (b"", b"{", note(""), b"[1]"):
        one.look(said)
    assert not one.is_there


def test_one_that_is_not_seen_any_more_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("modelward.fleet.namesake.time.monotonic", lambda: now[0])
    one = Namesake("a", "a/1")
    for said in ("a/1", "a/2"):
        one.look(note(said))
    now[0] = namesake.SEEN_SECONDS - 0.1
    assert one.is_there
    now[0] = namesake.SEEN_SECONDS
    assert not one.is_there


def test_a_note_says_that_a_name_is_taken_and_one_without_it_can_be_read() -> None:
    assert decoded(encoded(Note(name_taken=True))).name_taken
    assert b"name_taken" not in encoded(Note()), "a release that does not know it can read what servers usually say"
