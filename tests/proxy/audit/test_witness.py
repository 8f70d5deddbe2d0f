"""A witness remembers, cosigns what goes on from there, and refuses every other history."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.audit.files import LogReader, LogWriter
from modelward.audit.merkle import consistency_proof
from modelward.audit.note import COSIGNATURE, Checkpoint, Note, Signer, signed
from modelward.audit.record import Record, automatic
from modelward.audit.tiles import nodes
from modelward.audit.verify import checked
from modelward.audit.witness import (
    BAD,
    CONFLICT,
    FORBIDDEN,
    LARGEST_REQUEST,
    OK,
    SIZE_TYPE,
    UNKNOWN,
    UNPROVED,
    Request,
    Witness,
)
from modelward.audit.witness_server import MOST_CONNECTIONS, WitnessServer
from modelward.audit.witnesses import REFUSED, Witnesses
from modelward.config.address import Address
from modelward.config.witness import Witness as Settings

LOG = Signer("log.example", bytes(range(32)))
OTHER = Signer("other.example", bytes(32))
WITNESS = Signer("witness.example", bytes([7]) * 32, COSIGNATURE)
NOW = 1_700_000_000


def grown(folder: Path, *sizes: int, what: str = "version.loaded") -> LogReader:
    """A log that grew in these steps."""
    log = LogWriter.open(folder, LOG)
    at = log.checkpoint.size
    for size in sizes:
        log.append([automatic(what, model=f"m{i}") for i in range(at, size)])
        at = size
    log.close()
    return LogReader(folder)


def request(reader: LogReader, old: int) -> bytes:
    note = reader.note()
    size = Checkpoint.parse(note.text).size
    proof = consistency_proof(old, size, nodes(size, reader.hashes)) if old else []
    return bytes(Request(old, tuple(proof), bytes(note)))


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness", [LOG.verifier], WITNESS)


def test_what_goes_on_is_cosigned_and_remembered(tmp_path: Path, witness: Witness) -> None:
    for old, size in ((0, 3), (3, 300), (300, 300), (300, 1000)):
        reader = grown(tmp_path / "log", size)
        answer = witness.add(request(reader, old), NOW)
        assert answer.status == OK
        note = reader.note()
        cosigned = Note.parse(f"{note.text}\n{answer.body}".encode())
        assert cosigned.verify(WITNESS.verifier) == NOW
    latest = witness.latest(sha256(LOG.name.encode()).hexdigest())
    remembered = Note.parse(latest.body.encode())
    assert remembered.verify(WITNESS.verifier) == NOW
    assert checked(remembered, LOG.verifier).size == 1000
    assert witness.latest("0" * 64).status == UNKNOWN


def test_a_size_that_it_does_not_remember_is_answered_with_the_one_that_it_does(
    tmp_path: Path, witness: Witness
) -> None:
    assert witness.add(request(grown(tmp_path / "log", 3), 0), NOW).status == OK
    for old in (0, 2):
        answer = witness.add(request(grown(tmp_path / "log", 10), old), NOW)
        assert (answer.status, answer.body, answer.type) == (CONFLICT, "3\n", SIZE_TYPE)


def test_another_history_is_refused_and_what_was_seen_stays(tmp_path: Path, witness: Witness) -> None:
    assert witness.add(request(grown(tmp_path / "log", 5), 0), NOW).status == OK
    for size in (5, 9):  # of the same size, and of a greater one
        shutil.rmtree(tmp_path / "log")
        rewritten = grown(tmp_path / "log", size, what="version.refused")
        assert witness.add(request(rewritten, 5), NOW).status == UNPROVED
    shutil.rmtree(tmp_path / "log")
    shorter = grown(tmp_path / "log", 3)
    assert witness.add(request(shorter, 3), NOW).status == CONFLICT
    assert witness.add(bytes(Request(5, (), bytes(shorter.note()))), NOW).status == BAD
    latest = Note.parse(witness.latest(sha256(LOG.name.encode()).hexdigest()).body.encode())
    assert checked(latest, LOG.verifier).size == 5


def test_only_logs_and_keys_that_it_knows_are_cosigned(tmp_path: Path, witness: Witness) -> None:
    checkpoint = Checkpoint(OTHER.name, 0, sha256().digest())
    assert witness.add(bytes(Request(0, (), signed(str(checkpoint), [OTHER]))), NOW).status == UNKNOWN
    forger = Signer(LOG.name, bytes(32))
    checkpoint = Checkpoint(LOG.name, 0, sha256().digest())
    assert witness.add(bytes(Request(0, (), signed(str(checkpoint), [forger]))), NOW).status == FORBIDDEN
    both = signed(str(checkpoint), [forger, LOG])
    assert witness.add(bytes(Request(0, (), both)), NOW).status == OK
    latest = witness.latest(sha256(LOG.name.encode()).hexdigest()).body
    assert f"{LOG.name} " in latest
    assert len(Note.parse(latest.encode()).signatures) == 2  # the log's and its own


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 1",
        b"old -1\n\n",
        b"old 01\n\nx\n",
        b"new 1\n\nx\n",
        b"old 0\n!!!\n\nx\n",
        b"old 0\nAAAA\n\nx\n",
        b"old 0\n" + b"A" * 44 + b"\n\nx\n",
        b"old 0\n" + 64 * (b"A" * 43 + b"=\n") + b"\nx\n",
        b"old \xff\n\nx\n",
        b"old 0\n\n" + b"x" * LARGEST_REQUEST,
    ],
)
def test_what_is_malformed_is_told(witness: Witness, body: bytes) -> None:
    assert witness.add(body, NOW).status == BAD


@given(
    old=st.one_of(st.integers(-1, 10), st.integers(0, 2**70)),
    proof=st.lists(st.one_of(st.binary(min_size=32, max_size=32), st.binary(max_size=40)), max_size=70),
    junk=st.binary(max_size=200),
    at=st.integers(0, 400),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_is_answered_and_changes_nothing(
    tmp_path: Path, old: int, proof: list[bytes], junk: bytes, at: int
) -> None:
    folder = tmp_path / "guarded"
    witness = Witness(folder, [LOG.verifier], WITNESS)
    checkpoint = Checkpoint(LOG.name, 5, bytes(32))
    if not folder.exists():
        assert witness.add(bytes(Request(0, (), signed(str(checkpoint), [LOG]))), NOW).status == OK
    before = witness.latest(sha256(LOG.name.encode()).hexdigest())
    note = signed(str(Checkpoint(LOG.name, 9, bytes(31) + b"x")), [LOG])
    body = bytes(Request(old, tuple(proof), note))
    for each in (body, body[:at] + junk + body[at:], junk):
        assert witness.add(each, NOW).status in (BAD, FORBIDDEN, UNKNOWN, CONFLICT, UNPROVED)
    assert witness.latest(sha256(LOG.name.encode()).hexdigest()) == before


def test_a_witness_whose_memory_is_damaged_cosigns_nothing(tmp_path: Path, witness: Witness) -> None:
    reader = grown(tmp_path / "log", 3)
    assert witness.add(request(reader, 0), NOW).status == OK
    (file,) = (tmp_path / "witness").rglob("checkpoint")
    file.write_bytes(b"something else")
    with pytest.raises(OSError, match="damaged"):
        witness.add(request(reader, 0), NOW)


class Trail:
    def __init__(self) -> None:
        self.noted: list[Record] = []

    async def confirm(self, record: Record) -> int:
        raise NotImplementedError

    async def settle(self, record: Record) -> bool:
        raise NotImplementedError

    async def told_of(self, proposal: int, verb: str, since: datetime) -> Any:
        raise NotImplementedError

    def note(self, record: Record) -> None:
        self.noted.append(record)


def on_a_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    def run(tmp_path: Path) -> None:
        asyncio.run(asyncio.wait_for(test(tmp_path), 60))

    return run


def told(tmp_path: Path, trail: Trail, *settings: Settings) -> Witnesses:
    return Witnesses(
        settings, lambda: LogReader(tmp_path / "log"), LOG.verifier, tmp_path / "seen", trail, interval=0.01
    )


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def _witnessed_then_rewritten(tmp_path: Path, settings: Settings) -> str:
    """What is said of a witness whose log is rewritten."""
    trail = Trail()
    grown(tmp_path / "log", 3)
    witnesses = told(tmp_path, trail, settings)
    witnesses.start()
    await until(lambda: witnesses.sizes() == {settings.name: 3})
    grown(tmp_path / "log", 300)
    await until(lambda: witnesses.sizes() == {settings.name: 300})
    assert witnesses.words == f"witnessed by {settings.name} up to record 300"
    shutil.rmtree(tmp_path / "log")
    grown(tmp_path / "log", 301, what="version.refused")
    await until(lambda: trail.noted)
    await witnesses.stop()
    (record,) = trail.noted
    assert (record.verb, record.object) == (REFUSED, settings.name)
    assert witnesses.failures()[settings.name, "refused"] >= 1
    assert record.reason in witnesses.words
    return witnesses.words


@on_a_loop
async def test_a_served_witness_cosigns_a_log_and_refuses_it_when_it_was_rewritten(tmp_path: Path) -> None:
    server = WitnessServer(Witness(tmp_path / "witness", [LOG.verifier], WITNESS))
    await server.start(Address(host="127.0.0.1", port=0))
    words = await _witnessed_then_rewritten(
        tmp_path, Settings(url=f"http://{server.address}/", key=str(WITNESS.verifier))
    )
    await server.stop()
    assert "REFUSES the log" in words
    kept = Note.parse((tmp_path / "seen" / "0").read_bytes())
    assert abs(kept.verify(WITNESS.verifier) - time.time()) < 60
    assert checked(kept, LOG.verifier).size == 300


@on_a_loop
async def test_silent_connections_keep_nobody_out(tmp_path: Path) -> None:
    server = WitnessServer(Witness(tmp_path / "witness", [LOG.verifier], WITNESS))
    await server.start(Address(host="127.0.0.1", port=0))
    assert server.address is not None
    silent = [await asyncio.open_connection("127.0.0.1", server.address.port) for _ in range(MOST_CONNECTIONS + 20)]
    grown(tmp_path / "log", 3)
    settings = Settings(url=f"http://{server.address}", key=str(WITNESS.verifier))
    witnesses = told(tmp_path, Trail(), settings)
    witnesses.start()
    await until(lambda: witnesses.sizes() == {settings.name: 3})
    await witnesses.stop()
    assert await silent[0][0].read() == b""  # the first of them made way
    for _, writer in silent:
        writer.close()
    await server.stop()


@on_a_loop
async def test_a_folder_on_another_volume_does_as_well(tmp_path: Path) -> None:
    words = await _witnessed_then_rewritten(tmp_path, Settings(folder=tmp_path / "volume"))
    assert "REFUSES the log" in words
    (file,) = (tmp_path / "volume").rglob("checkpoint")
    assert checked(Note.parse(file.read_bytes()), LOG.verifier).size == 300


@on_a_loop
async def test_a_log_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    trail = Trail()
    grown(tmp_path / "log", 300)
    folder = Settings(folder=tmp_path / "volume")
    first = told(tmp_path, trail, folder)
    first.start()
    await until(lambda: first.sizes() == {folder.name: 300})
    await first.stop()
    shutil.rmtree(tmp_path / "log")
    grown(tmp_path / "log", 200)
    after_a_restart = told(tmp_path, trail, folder)
    after_a_restart.start()
    await until(lambda: trail.noted)
    await after_a_restart.stop()
    assert trail.noted[0].reason == "it has seen 300 records, and the log has 200: it was cut off"


@on_a_loop
async def test_a_webhook_is_told_of_each_checkpoint_with_its_token(tmp_path: Path) -> None:
    heard: list[tuple[str, dict[str, Any]]] = []

    async def hear(request: web.BaseRequest) -> web.Response:
        heard.append((request.headers["Authorization"], await request.json()))
        return web.Response(status=204)

    runner = web.ServerRunner(web.Server(hear))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "token").write_text("secret\n")
    settings = Settings(webhook=f"http://127.0.0.1:{runner.addresses[0][1]}/told", token_file=tmp_path / "token")
    grown(tmp_path / "log", 3)
    witnesses = told(tmp_path, Trail(), settings)
    witnesses.start()
    await until(lambda: heard)
    grown(tmp_path / "log", 7)
    await until(lambda: heard[-1][1]["size"] == 7)
    await witnesses.stop()
    await runner.cleanup()
    assert {token for token, _ in heard} == {"Bearer secret"}
    assert heard[0][1]["log"] == LOG.name
    assert checked(Note.parse(heard[-1][1]["checkpoint"].encode()), LOG.verifier).size == 7
    assert "secret" not in json.dumps([witnesses.words, repr(settings.model_dump(mode="json"))])


@on_a_loop
async def test_a_witness_that_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    server = WitnessServer(Witness(tmp_path / "witness", [LOG.verifier], WITNESS))
    await server.start(Address(host="127.0.0.1", port=0))
    assert server.address is not None
    address = Address(host="127.0.0.1", port=server.address.port)
    await server.stop()
    settings = Settings(url=f"http://{address}", key=str(WITNESS.verifier))
    grown(tmp_path / "log", 3)
    trail = Trail()
    witnesses = told(tmp_path, trail, settings)
    witnesses.start()
    await until(lambda: "is not told" in witnesses.words)
    server = WitnessServer(Witness(tmp_path / "witness", [LOG.verifier], WITNESS))
    await server.start(address)
    await until(lambda: witnesses.sizes() == {settings.name: 3})
    await witnesses.stop()
    await server.stop()
    assert trail.noted == []
    assert witnesses.failures()[settings.name, "failed"] >= 1


@on_a_loop
async def test_a_cosignature_of_another_key_counts_for_nothing(tmp_path: Path) -> None:
    server = WitnessServer(Witness(tmp_path / "witness", [LOG.verifier], WITNESS))
    await server.start(Address(host="127.0.0.1", port=0))
    key = str(Signer(WITNESS.name, bytes(32), COSIGNATURE).verifier)
    grown(tmp_path / "log", 3)
    witnesses = told(tmp_path, Trail(), Settings(url=f"http://{server.address}", key=key))
    witnesses.start()
    await until(lambda: "its cosignature does not verify" in witnesses.words)
    await witnesses.stop()
    await server.stop()
    assert set(witnesses.sizes().values()) == {0}
