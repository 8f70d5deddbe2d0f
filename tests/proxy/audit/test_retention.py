"""Old records are removed as the log tells, and what is left still verifies; what no record tells is found."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from modelward.audit import retaining, retention
from modelward.audit.files import LogReader, LogWriter, remove_bundles
from modelward.audit.log import Log, Reader
from modelward.audit.merkle import check_inclusion, inclusion_proof, leaf_hash
from modelward.audit.note import Checkpoint, Signer
from modelward.audit.postgres import PostgresLog, remove_records
from modelward.audit.record import Actor, Record
from modelward.audit.removal import VERB
from modelward.audit.retaining import Retaining
from modelward.audit.tiles import ENTRIES, HASH, TILE, nodes, pack, path, unpack
from modelward.audit.verify import verify
from modelward.config.postgres import Postgres
from modelward.config.retention import Retention
from tests import postgres

SIGNER = Signer("log.example", bytes(range(32)))
START = datetime(2026, 1, 1, tzinfo=UTC)
OLD = 1500
"""Records, one an hour."""


def record(i: int) -> Record:
    actor = Actor(name="alice@example.com" if i == 300 else "modelward")
    return Record(at=START + timedelta(hours=i), kind="automatic", verb="version.loaded", model=f"m{i}", actor=actor)


class Server:
    """A log, and the clock of who removes its old records."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log: Log, remove: Callable[[int, int], None]) -> None:
        self.log = log
        self.now = START
        self.remove = remove
        monkeypatch.setattr(retaining, "now", lambda: self.now)

    async def confirm(self, told: Record) -> int:
        return self.log.append([structs.replace(told, at=self.now)])

    async def settle(self, told: Record) -> bool:
        raise NotImplementedError

    async def told_of(self, proposal: int, verb: str, since: datetime) -> Any:
        raise NotImplementedError

    def note(self, told: Record) -> None:
        raise NotImplementedError

    def retain(self, *, at_hour: int, hold: Any = (), days: int = 10, crash: bool = False) -> None:
        """What a server that has just started does at this time."""
        settings = Retention(days=days, legal_hold=hold)

        def crashing(first: int, end: int) -> None:
            raise OSError("the process was killed")

        self.now = START + timedelta(hours=at_hour)
        remove = crashing if crash else self.remove
        asyncio.run(Retaining(settings, self.log.reader(), SIGNER.verifier, remove, self).once())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "log"
    log = LogWriter.open(folder, SIGNER)
    for first in range(0, OLD, 300):
        log.append([record(i) for i in range(first, first + 300)])
    log.close()
    return folder


@pytest.fixture
def server(whole: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    shutil.copytree(whole, folder)
    log = LogWriter.open(folder, SIGNER)
    yield Server(monkeypatch, log, lambda first, end: remove_bundles(folder, first, end))
    log.close()


def removed(reader: Reader) -> list[tuple[int, int]]:
    """How many records, by which record; of a log that is whole."""
    found = verify(reader, SIGNER.verifier)
    assert found.findings == ()
    return [(each.records, each.by) for each in found.removed]


def held(folder: Path) -> set[int]:
    """Which bundles of the old ones are there."""
    return {index for index in range(OLD // TILE) if (folder / path(ENTRIES, index)).exists()}


def test_what_is_older_is_removed_and_the_log_stays_whole(server: Server, folder: Path) -> None:
    server.retain(at_hour=240 + 800)
    assert held(folder) == {3, 4}
    assert removed(server.log.reader()) == [(3 * TILE, OLD)]
    told = json.loads(next(server.log.reader().records(OLD, OLD + 1)))
    assert (told["verb"], told["after"]["removed"], told["kind"]) == (VERB, [[0, 3 * TILE]], "automatic")
    assert told["figures"] == {"records": 3 * TILE, "removed_in_all": 3 * TILE, "held": 0}


def test_nothing_is_removed_or_told_before_it_is_old_enough(server: Server, folder: Path) -> None:
    server.retain(at_hour=240 + 255)
    assert held(folder) == set(range(OLD // TILE))
    assert server.log.checkpoint.size == OLD
    server.retain(at_hour=240 + 256)
    assert held(folder) == set(range(1, OLD // TILE))


def test_proofs_of_what_was_removed_still_hold(server: Server) -> None:
    before = server.log.reader()
    leaves = {index: next(before.records(index, index + 1)) for index in (0, 255, 300)}
    server.retain(at_hour=240 + 800)
    reader = server.log.reader()
    checkpoint = Checkpoint.parse(reader.note().text)
    for index, leaf in leaves.items():
        proof = inclusion_proof(index, checkpoint.size, nodes(checkpoint.size, reader.hashes))
        check_inclusion(leaf_hash(leaf), index, checkpoint.size, checkpoint.root, proof)


def test_removals_go_on_and_older_ones_may_go_too(server: Server, folder: Path) -> None:
    hour = 300
    while server.log.checkpoint.size < OLD + 2 * TILE:
        server.retain(at_hour=hour)
        hour += 240
        at = server.now
        server.log.append([structs.replace(record(0), at=at, model="later") for _ in range(60)])
    found = removed(server.log.reader())
    assert sum(records for records, _ in found) >= OLD // TILE * TILE
    assert held(folder) == set()
    assert not (folder / path(ENTRIES, 5)).exists()  # with the first removals
    assert {by for _, by in found} == {max(by for _, by in found)}


@pytest.mark.parametrize(
    ("hold", "kept"),
    [
        ({"model": "m300"}, {1}),
        ({"model": "m30*"}, {0, 1}),
        ({"actor": "alice@*"}, {1}),
        ({"actor": "alice@*", "model": "m301"}, set()),
        ({"since": START + timedelta(hours=600), "until": START + timedelta(hours=700)}, {2}),
        ({"until": "2026-01-01T05:00:00"}, {0}),
        ({}, {0, 1, 2, 3, 4}),
    ],
)
def test_a_legal_hold_keeps_what_it_is_for(server: Server, folder: Path, hold: Any, kept: set[int]) -> None:
    server.retain(at_hour=5000, hold=[hold])
    assert held(folder) == kept
    assert sum(records for records, _ in removed(server.log.reader())) == (5 - len(kept)) * TILE
    server.retain(at_hour=5000)
    assert held(folder) == set()
    assert sum(records for records, _ in removed(server.log.reader())) == 5 * TILE


def test_more_ranges_than_a_record_can_name_are_a_problem_that_is_told(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "MOST_RANGES", 1)
    holds = [{"model": "m300"}, {"model": "m900"}]  # bundles 1 and 3
    server.retain(at_hour=5000, hold=holds)
    assert held(folder) == {1, 2, 3, 4}
    assert "512 old records of the audit trail cannot be removed" in caplog.text
    assert "more than 1 ranges" in caplog.text
    caplog.clear()
    server.retain(at_hour=5000)
    assert held(folder) == set()
    assert not caplog.records


@pytest.mark.parametrize(
    "leaf", [b'{"at":' + b"[" * 60_000, b"[]", b'{"at":"2026-01-01T00:00:00+00:00","actor":"alice"}'],
    ids=["nested too deeply", "a list", "an actor without a name"],
)  # fmt: skip
def test_what_is_no_record_is_neither_removed_nor_the_end_of_retention(
    server: Server, folder: Path, leaf: bytes
) -> None:
    file = folder / path(ENTRIES, 2)
    records = list(unpack(file.read_bytes()))
    records[5] = leaf
    file.write_bytes(pack(records))
    with pytest.raises(ValueError, match=f"record {2 * TILE + 5} is"):
        server.retain(at_hour=5000, hold=[{"model": "m300"}])
    assert held(folder) == {0, 1, 2, 3, 4}


def test_a_removal_that_was_told_and_not_finished_is_finished(server: Server, folder: Path) -> None:
    with pytest.raises(OSError, match="killed"):
        server.retain(at_hour=5000, crash=True)
    assert held(folder) == {0, 1, 2, 3, 4}
    assert removed(server.log.reader()) == []
    size = server.log.checkpoint.size
    server.retain(at_hour=5000)
    assert held(folder) == set()
    assert server.log.checkpoint.size == size  # it is not told twice
    assert removed(server.log.reader()) == [(5 * TILE, OLD)]


def test_what_somebody_took_out_is_not_explained_by_a_later_removal(server: Server, folder: Path) -> None:
    (folder / path(ENTRIES, 1)).unlink()
    server.retain(at_hour=5000)
    found = verify(server.log.reader(), SIGNER.verifier)
    assert [finding.record for finding in found.findings] == [TILE]
    assert "no record tells that retention removed it" in found.findings[0].what


def test_a_removal_that_was_written_into_the_log_explains_nothing(server: Server, folder: Path) -> None:
    """Neither for verify, nor for the server's next removal."""
    forged = json.loads(next(server.log.reader().records(1400, 1401))) | {"verb": VERB}
    leaf = json.dumps({**forged, "after": {"removed": [[0, 3 * TILE]]}}, separators=(",", ":")).encode()
    file = folder / path(ENTRIES, 5, OLD % TILE)
    records = list(unpack(file.read_bytes()))
    records[1400 - 5 * TILE] = leaf
    file.write_bytes(pack(records))
    (folder / path(ENTRIES, 1)).unlink()
    found = verify(server.log.reader(), SIGNER.verifier)
    assert [finding.record for finding in found.findings] == [TILE, 1400]
    hashes = folder / path(0, 5, OLD % TILE)
    data = bytearray(hashes.read_bytes())
    data[(1400 - 5 * TILE) * HASH : (1401 - 5 * TILE) * HASH] = leaf_hash(leaf)
    hashes.write_bytes(data)
    found = verify(server.log.reader(), SIGNER.verifier)
    assert found.findings[0].record == TILE


def flip(file: Path, rng: random.Random) -> int:
    """Where."""
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    return at


def take_out_a_bundle(log: Path, rng: random.Random) -> tuple[int, int]:
    (log / path(ENTRIES, 4)).unlink()
    return 4 * TILE, 4 * TILE


def change_a_hash_of_what_was_removed(log: Path, rng: random.Random) -> tuple[int, int]:
    index = rng.randrange(3)
    flip(log / path(0, index), rng)
    return index * TILE, index * TILE


def change_an_upper_hash(log: Path, rng: random.Random) -> tuple[int, int]:
    at = flip(log / path(1, 0, OLD // TILE), rng)
    return at // HASH * TILE, at // HASH * TILE


def change_a_record(log: Path, rng: random.Random) -> tuple[int, int]:
    number = rng.randrange(3 * TILE, 5 * TILE)
    index = number // TILE
    records = list(unpack((log / path(ENTRIES, index)).read_bytes()))
    record = bytearray(records[number % TILE])
    record[rng.randrange(len(record))] ^= 1 << rng.randrange(8)
    records[number % TILE] = bytes(record)
    (log / path(ENTRIES, index)).write_bytes(pack(records))
    return number, number


def change_the_removal(log: Path, rng: random.Random) -> tuple[int, int]:
    """Then nothing tells why the first records are gone."""
    file = log / path(ENTRIES, 5, (OLD + 1) % TILE)
    records = list(unpack(file.read_bytes()))
    records[-1] = records[-1].replace(b"[[0,768]]", b"[[0,512]]")
    file.write_bytes(pack(records))
    return 0, 0


EDITS = [
    take_out_a_bundle,
    change_a_hash_of_what_was_removed,
    change_an_upper_hash,
    change_a_record,
    change_the_removal,
]


def test_each_change_of_a_log_with_removed_records_is_found_and_the_first_place_named(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    server.retain(at_hour=240 + 800)
    assert removed(server.log.reader()) == [(3 * TILE, OLD)]
    for seed in range(50):
        edit = EDITS[seed % len(EDITS)]
        log = tmp_path / "changed"
        shutil.copytree(folder, log)
        first, last = edit(log, random.Random(seed))
        found = verify(LogReader(log), SIGNER.verifier)
        assert not found.whole, (edit.__name__, seed)
        assert first <= found.findings[0].record <= last, (edit.__name__, seed, found.findings)
        shutil.rmtree(log)


def test_records_are_removed_from_a_database_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.running() as database:
        settings = Postgres(url=database.url())
        log = PostgresLog.open(settings, SIGNER)
        log.append([record(i) for i in range(OLD)])
        server = Server(monkeypatch, log, lambda first, end: remove_records(settings, SIGNER.name, first, end))
        server.retain(at_hour=240 + 800, hold=[{"model": "m300"}])
        assert removed(log.reader()) == [(2 * TILE, OLD)]
        assert database.execute("SELECT min(n), count(*) FROM modelward_audit.records") == [(TILE, OLD + 1 - 2 * TILE)]
        database.execute("DELETE FROM modelward_audit.records WHERE n / 256 = 1")
        found = verify(log.reader(), SIGNER.verifier)
        assert [finding.record for finding in found.findings] == [TILE]
