"""Whatever is changed in the tables of a log is found, and the first place is named."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from modelward.audit.merkle import leaf_hash
from modelward.audit.note import Checkpoint, Signer, stamped
from modelward.audit.postgres import PostgresLog
from modelward.audit.record import automatic
from modelward.audit.tiles import HASH, TILE, Edge
from modelward.audit.verify import Verified, verify
from modelward.config.postgres import Postgres
from tests import postgres

SIGNER = Signer("log.example", bytes(range(32)))
SIZE = 700
EDITS = 30
TABLES = ("records", "hashes", "checkpoints")


@dataclass
class Tables:
    """A log of SIZE records that grew in steps of 100, and what is changed in it."""

    connection: Any
    settings: Postgres
    records: list[bytes]

    def run(self, statement: str, *values: object) -> None:
        self.connection.execute(statement.format(schema=self.settings.schema_name), values or None)

    def put(self, number: int, record: bytes) -> None:
        self.run("UPDATE {schema}.records SET record = %s WHERE n = %s", record, number)

    def put_hash(self, level: int, number: int, value: bytes) -> None:
        self.run("UPDATE {schema}.hashes SET hash = %s WHERE level = %s AND n = %s", value, level, number)

    def verify(self, remembered: tuple[Checkpoint, ...]) -> Verified:
        reader = PostgresLog(self.settings, SIGNER).reader()
        try:
            return verify(reader, SIGNER.verifier, remembered)
        finally:
            reader.close()

    def mend(self) -> None:
        for table in TABLES:
            overriding = "OVERRIDING SYSTEM VALUE " if table == "checkpoints" else ""
            self.run(f"TRUNCATE {{schema}}.{table}")
            self.run(f"INSERT INTO {{schema}}.{table} {overriding}SELECT * FROM {{schema}}.saved_{table}")


@pytest.fixture(scope="module")
def tables() -> Iterator[Tables]:
    psycopg = pytest.importorskip("psycopg", reason="the package psycopg is not installed")
    with postgres.running() as server, psycopg.connect(server.url(), autocommit=True) as connection:
        settings = Postgres(url=server.url())
        log = PostgresLog.open(settings, SIGNER)
        for first in range(0, SIZE, 100):
            log.append([automatic("version.loaded", model=f"m{i}") for i in range(first, first + 100)])
        found = Tables(connection, settings, list(log.reader().records(0, SIZE)))
        for table in TABLES:
            found.run(f"CREATE TABLE {{schema}}.saved_{table} AS TABLE {{schema}}.{table}")
        yield found


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_bit_of_record(log: Tables, rng: random.Random) -> tuple[int, int]:
    number = rng.randrange(SIZE)
    log.put(number, flipped(log.records[number], rng))
    return number, number


def flip_bit_of_hash(log: Tables, rng: random.Random) -> tuple[int, int]:
    number = rng.randrange(SIZE)
    log.put_hash(0, number, flipped(leaf_hash(log.records[number]), rng))
    return number, number


def change_upper_hash(log: Tables, rng: random.Random) -> tuple[int, int]:
    index = rng.randrange(SIZE // TILE)
    log.put_hash(1, index, rng.randbytes(HASH))
    return index * TILE, index * TILE


def replace_record(log: Tables, rng: random.Random) -> tuple[int, int]:
    """With its hash: only checkpoints tell."""
    number = rng.randrange(SIZE)
    record = automatic("version.refused", model="other").encoded(number)
    log.put(number, record)
    log.put_hash(0, number, leaf_hash(record))
    return number // 100 * 100, number


def swap_records(log: Tables, rng: random.Random) -> tuple[int, int]:
    first, second = sorted(rng.sample(range(SIZE), 2))
    hashes = rng.random() < 0.5
    for number, record in ((first, log.records[second]), (second, log.records[first])):
        log.put(number, record)
        if hashes:
            log.put_hash(0, number, leaf_hash(record))
    return first, first


def remove_record(log: Tables, rng: random.Random) -> tuple[int, int]:
    number = rng.randrange(SIZE)
    log.run("DELETE FROM {schema}.records WHERE n = %s", number)
    return number, number


def remove_bundle(log: Tables, rng: random.Random) -> tuple[int, int]:
    """As retention does, but no record tells it."""
    index = rng.randrange(SIZE // TILE)
    log.run("DELETE FROM {schema}.records WHERE n / 256 = %s", index)
    return index * TILE, index * TILE


def remove_hash(log: Tables, rng: random.Random) -> tuple[int, int]:
    number = rng.randrange(SIZE)
    log.run("DELETE FROM {schema}.hashes WHERE level = 0 AND n = %s", number)
    return number // TILE * TILE, number


def cut_off(log: Tables, rng: random.Random) -> tuple[int, int]:
    """Back to an earlier checkpoint, which is truly signed."""
    size = rng.randrange(1, SIZE // 100) * 100
    log.run("DELETE FROM {schema}.checkpoints WHERE size > %s", size)
    log.run("DELETE FROM {schema}.records WHERE n >= %s", size)
    return -1, -1


def forge_checkpoint(log: Tables, rng: random.Random) -> tuple[int, int]:
    edge = Edge()
    for each in log.records:
        edge.append(leaf_hash(each))
    note = stamped(Checkpoint(SIGNER.name, SIZE, edge.root()), Signer(SIGNER.name, rng.randbytes(32)), 1)
    log.run("UPDATE {schema}.checkpoints SET note = %s WHERE size = %s", note, SIZE)
    return -1, -1


ALL: list[Callable[[Tables, random.Random], tuple[int, int]]] = [
    flip_bit_of_record,
    flip_bit_of_hash,
    change_upper_hash,
    replace_record,
    swap_records,
    remove_record,
    remove_bundle,
    remove_hash,
    cut_off,
    forge_checkpoint,
]


def test_each_change_of_the_tables_is_found_and_the_first_place_named(tables: Tables) -> None:
    whole = tables.verify(())
    assert whole.whole
    assert whole.records == SIZE
    remembered = (whole.checkpoint,)
    for seed in range(EDITS):
        edit = ALL[seed % len(ALL)]
        first, last = edit(tables, random.Random(seed))
        found = tables.verify(remembered)
        assert not found.whole, (edit.__name__, seed)
        assert first <= found.findings[0].record <= last, (edit.__name__, seed, found.findings)
        tables.mend()
    assert tables.verify(remembered).whole
