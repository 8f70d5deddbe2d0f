"""Who can keep a server from writing its log in PostgreSQL, and what is read of rows that no server wrote."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest

from modelward.audit import postgres as module
from modelward.audit.database import Failed
from modelward.audit.note import NotSigned, Signer
from modelward.audit.postgres import PostgresLog
from modelward.audit.postgres_tables import VERSION, statements
from modelward.audit.record import automatic
from modelward.audit.tiles import LARGEST_RECORD, TILE
from modelward.audit.verify import verify
from modelward.config.postgres import Postgres
from tests import postgres

SIGNER = Signer("log.example", bytes(range(32)))
RECORD = automatic("version.loaded", model="m", version="1")


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        server.execute("CREATE ROLE writer LOGIN; CREATE ROLE auditor LOGIN; CREATE ROLE stranger LOGIN")
        yield server


@pytest.fixture
def settings(server: postgres.Server, names: Iterator[int] = itertools.count()) -> Postgres:  # noqa: B008
    schema = f"lock{next(names)}"
    server.execute(statements(schema, "writer", "auditor"))
    return Postgres(url=server.url(user="writer"), schema_name=schema, timeout="1s")


def connected(server: postgres.Server, user: str) -> Any:
    return pytest.importorskip("psycopg").connect(server.url(user=user))


@pytest.mark.parametrize("user", ["stranger", "auditor"])
def test_who_may_not_write_cannot_keep_a_server_from_it(server: postgres.Server, settings: Postgres, user: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    log = PostgresLog.open(settings, SIGNER)
    log.append([RECORD])
    schema = settings.schema_name
    key = int.from_bytes(sha256(b"modelward audit " + SIGNER.name.encode()).digest()[:8], "big", signed=True)
    with connected(server, user) as other:
        other.execute("SELECT pg_advisory_lock(%s), pg_advisory_lock(hashtext(%s))", (key, VERSION))
        for statement in (
            f"SELECT 1 FROM {schema}.writers FOR UPDATE",
            f"SELECT 1 FROM {schema}.writers FOR KEY SHARE",
            f"LOCK TABLE {schema}.writers IN EXCLUSIVE MODE",
            f"LOCK TABLE {schema}.records IN SHARE MODE",
            f"INSERT INTO {schema}.writers VALUES ('another')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), other.transaction():
                other.execute(statement)
        if user == "auditor":
            for table in ("records", "hashes", "checkpoints", "writers"):
                other.execute(f"SELECT * FROM {schema}.{table}").fetchall()
                other.execute(f"LOCK TABLE {schema}.{table} IN ACCESS SHARE MODE")
        assert log.append([RECORD]) == 1
        assert PostgresLog.open(settings, SIGNER).append([RECORD]) == 2


@pytest.mark.parametrize(
    "held", ["SELECT 1 FROM {}.writers WHERE log = 'log.example' FOR UPDATE", "LOCK TABLE {}.writers"]
)
def test_who_holds_the_lock_is_named_until_its_connection_ends(
    server: postgres.Server, settings: Postgres, held: str
) -> None:
    log = PostgresLog.open(settings, SIGNER)
    log.append([RECORD])
    user = "owner" if "LOCK" in held else "writer"
    other = connected(server, user)
    other.execute(held.format(settings.schema_name))
    with pytest.raises(Failed, match=f"held by process {other.info.backend_pid} of role {user}$"):
        log.append([RECORD])
    server.execute(f"SELECT pg_terminate_backend({other.info.backend_pid})")
    assert log.append([RECORD]) == 1
    assert verify(log.reader(), SIGNER.verifier).whole


def test_the_lock_of_one_log_is_not_that_of_another(server: postgres.Server, settings: Postgres) -> None:
    PostgresLog.open(settings, SIGNER).append([RECORD])
    another = PostgresLog.open(settings, Signer("another.example", bytes(range(1, 33))))
    with connected(server, "writer") as other:
        other.execute(f"SELECT 1 FROM {settings.schema_name}.writers WHERE log = 'log.example' FOR UPDATE")
        assert another.append([RECORD]) == 0


def test_servers_that_start_at_one_time_make_the_tables_once(server: postgres.Server) -> None:
    settings = Postgres(url=server.url(), schema_name="together")
    with ThreadPoolExecutor(6) as pool:
        logs = list(pool.map(lambda _: PostgresLog.open(settings, SIGNER), range(6)))
        numbers = list(pool.map(lambda log: log.append([RECORD]), logs))
    assert sorted(numbers) == list(range(6))
    assert verify(logs[0].reader(), SIGNER.verifier).whole


def test_tables_of_an_earlier_release_get_what_they_lack(server: postgres.Server) -> None:
    settings = Postgres(url=server.url(), schema_name="earlier")
    PostgresLog.open(settings, SIGNER).append([RECORD])
    server.execute("DROP TABLE earlier.writers")
    assert PostgresLog.open(settings, SIGNER).append([RECORD]) == 1


def test_a_row_that_is_too_long_is_named_and_not_fetched(
    server: postgres.Server, settings: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    psycopg = pytest.importorskip("psycopg")
    log = PostgresLog.open(settings, SIGNER)
    log.append([RECORD] * 3)
    size = 20_000_000
    server.execute(
        f"UPDATE {settings.schema_name}.records SET record = convert_to(repeat('a', {size}), 'UTF8') WHERE n = 1"
    )
    fetched: list[int] = []
    fetchall = psycopg.Cursor.fetchall

    def counted(cursor: Any) -> Any:
        rows = fetchall(cursor)
        fetched.append(sum(len(each) for row in rows for each in row if isinstance(each, bytes)))
        return rows

    monkeypatch.setattr(psycopg.Cursor, "fetchall", counted)
    (finding,) = verify(log.reader(), SIGNER.verifier).findings
    assert finding.what == f"record 1 has {size} bytes, and none has more than {LARGEST_RECORD}"
    assert finding.record == 1
    server.execute(f"UPDATE {settings.schema_name}.checkpoints SET note = convert_to(repeat('a', {size}), 'UTF8')")
    with pytest.raises(NotSigned, match="a note has at most"):
        log.reader().note()
    with pytest.raises(NotSigned, match="a note has at most"):
        next(log.reader().history())
    assert fetched
    assert max(fetched) < 1_000_000


def test_what_is_read_ahead_has_a_bound_in_bytes(settings: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PostgresLog.open(settings, SIGNER)
    log.append([RECORD] * 1100)
    held: list[int] = []
    records = module._Rows.records

    def counted(rows: Any, first: int, end: int) -> Any:
        found = records(rows, first, end)
        held.append(sum(len(each) for each in found.values() if isinstance(each, bytes)))
        return found

    monkeypatch.setattr(module._Rows, "records", counted)
    for factor in (1.0, 1.5, 2.0, 100.0):
        monkeypatch.setattr(module, "MOST_BYTES", int(factor * TILE * len(RECORD.encoded(1099))))
        held.clear()
        assert len(list(log.reader().records(0, 1100))) == 1100
        assert verify(log.reader(), SIGNER.verifier).whole
        assert 0 < max(held) <= module.MOST_BYTES
