"""A log in a real PostgreSQL: what was confirmed is there, whatever happens to the database or its connections."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelward.audit.database import Database, Failed
from modelward.audit.last import Last
from modelward.audit.merkle import check_consistency, check_inclusion, consistency_proof, inclusion_proof, leaf_hash
from modelward.audit.note import Checkpoint, Signer
from modelward.audit.postgres import PostgresLog, PostgresReader, remove_records
from modelward.audit.postgres_tables import statements
from modelward.audit.record import Record, automatic
from modelward.audit.tiles import nodes
from modelward.audit.verify import verify
from modelward.config.postgres import Postgres
from modelward.problem import ProblemsFound
from tests import postgres
from tests.postgres import Server
from tests.support import wait_until

SIGNER = Signer("fleet.example", bytes(range(32)))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres.running() as started:
        yield started


@pytest.fixture
def settings(server: Server, names: Iterator[int] = itertools.count()) -> Postgres:  # noqa: B008
    """A schema of the test's own."""
    return Postgres(url=server.url(), schema_name=f"test_{next(names)}", timeout="30s")


def noted(*models: str) -> list[Record]:
    return [automatic("version.loaded", model=model) for model in models]


def many(first: int, end: int) -> list[Record]:
    return noted(*(f"m{i}" for i in range(first, end)))


def models(log: PostgresLog) -> list[str]:
    records = log.reader().records(0, log.checkpoint.size)
    return [json.loads(record)["model"] for record in records]


def whole(log: PostgresLog) -> None:
    found = verify(log.reader(), SIGNER.verifier)
    assert found.findings == ()
    assert found.records == log.checkpoint.size


def test_a_log_is_continued_where_it_ended_and_verifies(settings: Postgres) -> None:
    log = PostgresLog.open(settings, SIGNER)
    assert log.append(many(0, 1)) == 0
    assert log.append(many(1, 300)) == 1
    log.close()
    log = PostgresLog.open(settings, SIGNER)
    assert log.checkpoint.size == 300
    assert log.append(noted("same") * 65_700) == 300
    assert log.append([]) == 66_000
    assert log.checkpoint.size == 66_000
    whole(log)


def test_proofs_follow_from_the_tables(settings: Postgres) -> None:
    log = PostgresLog.open(settings, SIGNER)
    log.append(many(0, 300))
    log.append(many(300, 700))
    reader = log.reader()
    before, after = (Checkpoint.parse(note.text) for note in reader.history())
    assert (before.size, after) == (300, Checkpoint.parse(reader.note().text))
    node = nodes(700, reader.hashes)
    for index in (0, 255, 256, 699):
        (record,) = reader.records(index, index + 1)
        check_inclusion(leaf_hash(record), index, 700, after.root, inclusion_proof(index, 700, node))
    check_consistency(300, 700, before.root, after.root, consistency_proof(300, 700, node))


def test_servers_that_share_a_log_write_every_record_once(settings: Postgres) -> None:
    logs = [PostgresLog.open(settings, SIGNER) for _ in range(3)]
    given: list[list[int]] = [[], [], []]

    def write(which: int) -> None:
        for i in range(20):
            first = logs[which].append(noted(f"{which}-{i}-a", f"{which}-{i}-b"))
            given[which] += [first, first + 1]

    threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([*given[0], *given[1], *given[2]]) == list(range(120))
    logs[0].append([])
    held = models(logs[0])
    for which in range(3):
        expected = [f"{which}-{i}-{part}" for i in range(20) for part in "ab"]
        assert [held[number] for number in given[which]] == expected
    whole(logs[0])


def test_logs_of_several_servers_lie_in_one_database(settings: Postgres) -> None:
    other = Signer("other.example", bytes(32))
    logs = [PostgresLog.open(settings, signer) for signer in (SIGNER, other)]
    assert [log.append(many(0, 3)) for log in logs] == [0, 0]
    whole(logs[0])
    assert verify(logs[1].reader(), other.verifier).whole


def test_a_server_that_was_moved_without_its_key_is_told_which_key_it_lacks(
    settings: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    PostgresLog.open(settings, SIGNER).append(many(0, 3))
    assert not caplog.records
    other = Signer(SIGNER.name, bytes(32))
    with pytest.raises(ProblemsFound, match="the log that lies there was signed by another key") as found:
        PostgresLog.open(settings, other, Last(tmp_path / "last"))
    (problem,) = found.value.problems
    ours, theirs = other.verifier.key_id.hex(), SIGNER.verifier.key_id.hex()
    assert problem.why == f"it is signed by {SIGNER.name} with the key {theirs}, and not with the key {ours}"
    assert problem.how == (
        f"Bring key and key.pub of the server that wrote it to {tmp_path}; or begin a new log: move these two away "
        "from there, and set audit.name to another name"
    )
    begun = Signer("other.example", bytes(32))
    PostgresLog.open(settings, begun)
    assert f"a new log begins, other.example; it holds others: {SIGNER.name}; if this server" in caplog.text
    with pytest.raises(FileNotFoundError, match=f"no log of the name third.example; it holds {SIGNER.name}"):
        PostgresReader(settings, "third.example").note()


def test_a_log_that_was_cut_off_is_not_continued(settings: Postgres, server: Server) -> None:
    log = PostgresLog.open(settings, SIGNER)
    log.append(many(0, 3))
    log.append(many(3, 6))
    set_back(settings, server, 3)
    assert log.checkpoint.size == 6
    with pytest.raises(ProblemsFound, match="the log was taken back"):
        log.append(many(6, 7))
    server.execute(f"DELETE FROM {settings.schema_name}.checkpoints")
    with pytest.raises(ProblemsFound, match="lost its checkpoints"):
        log.append(many(6, 7))
    with pytest.raises(ProblemsFound, match="lost its checkpoints"):
        PostgresLog.open(settings, SIGNER)


def set_back(settings: Postgres, server: Server, size: int) -> None:
    """The tables of a backup that was made when the log had so many records."""
    for table, column in (("records", "n"), ("hashes", "n"), ("checkpoints", "size - 1")):
        server.execute(f"DELETE FROM {settings.schema_name}.{table} WHERE {column} >= {size}")


def test_a_start_with_an_older_log_than_was_confirmed_is_refused(
    settings: Postgres, server: Server, tmp_path: Path
) -> None:
    log = PostgresLog.open(settings, SIGNER, Last(tmp_path / "last"))
    log.append(many(0, 3))
    log.append(many(3, 6))
    log.close()
    set_back(settings, server, 3)
    with pytest.raises(ProblemsFound, match="the log was taken back") as found:
        PostgresLog.open(settings, SIGNER, Last(tmp_path / "last"))
    assert found.value.problems[0].why == "it has 3 records, and not the 6 that were confirmed last"
    assert str(tmp_path / "last") in found.value.problems[0].how
    set_back(settings, server, 0)
    with pytest.raises(ProblemsFound, match="lost its checkpoints"):
        PostgresLog.open(settings, SIGNER, Last(tmp_path / "last"))
    (tmp_path / "last").unlink()
    assert PostgresLog.open(settings, SIGNER, Last(tmp_path / "last")).append(many(0, 1)) == 0


def test_a_log_that_another_server_has_continued_meanwhile_is_not_taken_for_an_older_one(
    settings: Postgres, tmp_path: Path
) -> None:
    PostgresLog.open(settings, SIGNER, Last(tmp_path / "last")).append(many(0, 3))
    PostgresLog.open(settings, SIGNER, Last(tmp_path / "other's")).append(many(3, 300))
    assert PostgresLog.open(settings, SIGNER, Last(tmp_path / "last")).append(many(300, 301)) == 300


def test_records_whose_commit_was_never_answered_are_among_those_that_a_start_must_find(
    settings: Postgres, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = PostgresLog.open(settings, SIGNER, Last(tmp_path / "last"))
    log.append(many(0, 3))
    Answerless(monkeypatch, before=False)
    assert log.append(many(3, 6)) == 3
    assert log.checkpoint.size == 6
    set_back(settings, server, 3)
    with pytest.raises(ProblemsFound, match="the log was taken back"):
        PostgresLog.open(settings, SIGNER, Last(tmp_path / "last"))


def test_the_view_is_for_people_who_read_with_sql(settings: Postgres, server: Server) -> None:
    PostgresLog.open(settings, SIGNER).append(noted("fraud", "churn"))
    asked = f"SELECT n FROM {settings.schema_name}.trail WHERE record->>'model' = 'churn'"
    assert server.execute(asked) == [(1,)]


def test_a_server_needs_no_right_to_change_anything(settings: Postgres, server: Server) -> None:
    """Nor one to delete, unless it removes records by retention."""
    schema = settings.schema_name
    server.execute("CREATE ROLE writer LOGIN; CREATE ROLE reading LOGIN")
    weak = Postgres(url=server.url(user="writer"), schema_name=schema)
    with pytest.raises(ProblemsFound, match="modelward audit sql"):
        PostgresLog.open(weak, SIGNER)
    server.execute(statements(schema, "writer", "reading"))
    log = PostgresLog.open(weak, SIGNER)
    assert log.append(many(0, 300)) == 0
    for statement in (f"DELETE FROM {schema}.records", f"UPDATE {schema}.checkpoints SET note = ''"):
        with pytest.raises(Failed, match="permission denied"):
            log._database.run(lambda cursor, text=statement: cursor.execute(text))
    with pytest.raises(Failed, match="permission denied"):
        remove_records(weak, SIGNER.name, 0, 256)
    reader = PostgresLog(Postgres(url=server.url(user="reading"), schema_name=schema), SIGNER).reader()
    assert verify(reader, SIGNER.verifier).whole


def test_tables_of_another_release_are_left_alone(settings: Postgres, server: Server) -> None:
    server.execute(f"CREATE SCHEMA {settings.schema_name}; COMMENT ON SCHEMA {settings.schema_name} IS 'something'")
    with pytest.raises(ProblemsFound, match="holds something else: something"):
        PostgresLog.open(settings, SIGNER)


class Answerless:
    """A database whose next commit happens, and whose answer is lost; or that is cut off before it commits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, before: bool) -> None:
        self._run = Database._run
        self._armed = True
        self._before = before
        monkeypatch.setattr(Database, "_run", lambda *given: self.run(*given))  # noqa: PLW0108 - bound to the database

    def run(self, database: Database, work: Any) -> Any:
        if not self._armed:
            return self._run(database, work)

        def working(cursor: Any) -> Any:
            found = work(cursor)
            if self._before:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return found

        self._armed = False
        self._run(database, working)
        database.close()
        raise Failed("the connection was lost", unsure=True)


def test_a_commit_whose_answer_was_lost_is_looked_up(settings: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PostgresLog.open(settings, SIGNER)
    log.append(many(0, 3))
    Answerless(monkeypatch, before=False)
    assert log.append(many(3, 6)) == 3
    assert log.append(many(6, 7)) == 6
    assert models(log) == [f"m{i}" for i in range(7)]
    whole(log)


def test_what_was_cut_off_before_it_was_committed_is_written_again(
    settings: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = PostgresLog.open(settings, SIGNER)
    log.append(many(0, 3))
    Answerless(monkeypatch, before=True)
    assert log.append(many(3, 6)) == 3
    assert models(log) == [f"m{i}" for i in range(6)]
    whole(log)


def test_a_commit_whose_outcome_cannot_be_looked_up_is_not_repeated(
    settings: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It failed, as far as the caller was told; then the same records are given again."""
    log = PostgresLog.open(settings, SIGNER)
    log.append(many(0, 3))
    batch = many(3, 6)
    with monkeypatch.context() as patched:
        answerless = Answerless(patched, before=False)
        real, calls = answerless._run, 0

        def gone(database: Database, work: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise Failed("connection refused")
            return real(database, work)

        answerless._run = gone  # type: ignore[assignment]
        with pytest.raises(OSError):
            log.append(batch)
    other = PostgresLog.open(settings, SIGNER)
    assert other.append(noted("between")) == 6
    assert log.append(batch) == 3
    assert log.append(many(6, 7)) == 7
    assert models(log) == [*(f"m{i}" for i in range(6)), "between", "m6"]
    whole(log)


def test_a_database_that_is_killed_and_comes_back_has_all_that_was_confirmed(tmp_path: Path) -> None:
    with postgres.running() as server:
        settings = Postgres(url=server.url(), timeout="2s")
        log = PostgresLog.open(settings, SIGNER)
        confirmed: list[str] = []
        stop = threading.Event()

        def write() -> None:
            for i in itertools.count():
                if stop.is_set():
                    return
                try:
                    log.append(noted(f"w{i}"))
                except OSError:
                    stop.wait(0.05)  # the database needs the processor to come back
                    continue
                confirmed.append(f"w{i}")

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(2):
                seen = len(confirmed)
                wait_until(lambda n=seen: len(confirmed) > n + 20, "records to be written")
                server.kill()
                server.start()
        finally:
            seen = len(confirmed)
            wait_until(lambda: len(confirmed) > seen, "records to be written again")
            stop.set()
            thread.join()
        log.append([])
        held = models(log)
        assert len(held) == len(set(held))
        assert set(confirmed) <= set(held)
        assert [each for each in held if each in set(confirmed)] == confirmed
        whole(log)


def test_a_database_that_does_not_answer_is_given_up_in_time(server: Server, settings: Postgres) -> None:
    log = PostgresLog.open(settings.model_copy(update={"timeout": 300_000_000}), SIGNER)
    batch = many(0, 3)
    server.freeze()
    try:
        with pytest.raises(OSError):
            log.append(batch)
    finally:
        server.thaw()
    assert log.append(batch) == 0
    assert models(log) == ["m0", "m1", "m2"]


def test_a_database_that_only_reads_is_told_and_the_log_goes_on(server: Server, settings: Postgres) -> None:
    log = PostgresLog.open(settings, SIGNER)
    log.append(many(0, 3))
    server.execute("ALTER ROLE owner SET default_transaction_read_only = on")
    log.close()
    try:
        with pytest.raises(Failed, match="read-only transaction"):
            log.append(many(3, 4))
    finally:
        server.execute("BEGIN READ WRITE; ALTER ROLE owner RESET default_transaction_read_only; COMMIT")
    log.close()
    assert log.append(many(3, 4)) == 3


def test_a_database_that_forgets_is_refused() -> None:
    with postgres.running() as server:
        server.kill()
        server.start("fsync=off")
        with pytest.raises(ProblemsFound, match="fsync off"):
            PostgresLog.open(Postgres(url=server.url()), SIGNER)


def test_commits_are_on_disk_though_the_database_would_not_wait(server: Server, settings: Postgres) -> None:
    server.execute("ALTER ROLE owner SET synchronous_commit = off")
    try:
        log = PostgresLog.open(settings, SIGNER)
        shown = log._database.run(lambda cursor: cursor.execute("SHOW synchronous_commit").fetchone())
    finally:
        server.execute("ALTER ROLE owner RESET synchronous_commit")
    assert shown == ("on",)
