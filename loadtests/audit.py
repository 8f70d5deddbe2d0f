"""`python -m loadtests.audit`: what a large audit log takes to verify, and how many records it confirms."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table
from modelward.audit.files import LogReader, LogWriter
from modelward.audit.log import Log
from modelward.audit.note import Signer
from modelward.audit.postgres import PostgresLog
from modelward.audit.record import Actor, Record, automatic, human
from modelward.audit.verify import verify
from modelward.config.postgres import Postgres

RECORDS = 10_000_000
VERIFY_SECONDS = 60.0
PER_SECOND = 2000.0
SECONDS = 5.0
BATCHES = (1, 16, 256, 1024)
STEP = 1000  # records of a checkpoint of the large log
SIGNER = Signer("modelward/loadtest", bytes(range(32)))

METHOD = f"""\
Appended is what an operator's action and what comes of it are: records of 250 to 300 bytes, in batches, as the trail's
writer takes all that waits at a time. Each batch is signed and synced (of PostgreSQL: committed, with fsync and
synchronous_commit on) before the next one; {SECONDS:g} s each.

Verified is a log of {RECORDS:,} records of the same kind with a checkpoint every {STEP:,}, in files, by one thread,
with the public key alone: every record is hashed, every hash and every checkpoint compared. The bar is for the time of
one core that it takes, in the kernel too: other programs share the machine. The time that passed stands beside it; the
files lie in the page cache as far as they fit."""


@dataclass(frozen=True)
class Appended:
    store: str
    batch: int
    per_second: float
    batch_ms: float


@dataclass(frozen=True)
class Verified:
    records: int
    megabytes: float
    seconds: float
    cpu_seconds: float


def record(i: int) -> Record:
    if i % 2:
        actor = Actor(name="alice@example.com", proof="certificate", origin="192.0.2.7:50123")
        return human("promote", actor, result="asked", model="fraud", version=str(i), reason="the weekly retraining")
    figures = {"pairs": 5000, "worse": 0.0012, "bound": 0.01}
    digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    return automatic("version.loaded", model="fraud", version=str(i), digest=digest, figures=figures)


def appended(store: str, log: Log, batch: int, seconds: float) -> Appended:
    done, batches, began = 0, 0, time.monotonic()
    while (took := time.monotonic() - began) < seconds:
        log.append([record(done + i) for i in range(batch)])
        done += batch
        batches += 1
    return Appended(store, batch, done / took, 1000 * took / batches)


@contextmanager
def database() -> Iterator[Postgres | None]:
    """A PostgreSQL of its own; None where there is none."""
    import pytest  # noqa: PLC0415 - what the tests start it with skips so

    from tests import postgres  # noqa: PLC0415

    try:
        manager = postgres.running()
        server = manager.__enter__()
    except pytest.skip.Exception:
        yield None
        return
    try:
        yield Postgres(url=server.url())
    finally:
        manager.__exit__(None, None, None)


def large(folder: Path, count: int, told: Callable[[int], None]) -> None:
    """Writes a log, without syncs: how long that takes is no matter."""
    leaf = record(0).encoded(0).partition(b",")[2], record(1).encoded(0).partition(b",")[2]
    sync, os.fsync = os.fsync, lambda fd: None
    try:
        log = LogWriter.open(folder, SIGNER)
        for first in range(0, count, STEP):
            end = min(count, first + STEP)
            log.add([b'{"n":%d,%s' % (i, leaf[i % 2]) for i in range(first, end)])
            told(end)
        log.close()
    finally:
        os.fsync = sync


def verified(folder: Path, count: int, told: Callable[[int], None]) -> Verified:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    began, cpu = time.monotonic(), time.process_time()
    found = verify(LogReader(folder), SIGNER.verifier, progress=lambda done, _: told(done))
    took, used = time.monotonic() - began, time.process_time() - cpu
    assert found.findings == (), found.findings
    assert found.records == count
    return Verified(count, size / 1e6, took, used)


def main() -> int:
    """0 if every bar is reached."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.audit", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, help="of the large log (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of appending (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the logs are made (default: the system's for such files)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    rows: list[Appended] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name, Progress(console=Console(stderr=True)) as progress:
        for batch in BATCHES:
            log = LogWriter.open(Path(name) / str(batch), SIGNER)
            rows.append(appended("files", log, batch, arguments.seconds))
            log.close()
        with database() as settings:
            for batch in BATCHES:
                if settings is None:
                    break
                stored = PostgresLog.open(settings, Signer(f"{SIGNER.name}/{batch}", SIGNER.seed))
                rows.append(appended("PostgreSQL", stored, batch, arguments.seconds))
                stored.close()
        making = progress.add_task("making the log", total=arguments.records)
        large(Path(name) / "large", arguments.records, lambda done: progress.update(making, completed=done))
        reading = progress.add_task("verifying it", total=arguments.records)
        checked = verified(
            Path(name) / "large", arguments.records, lambda done: progress.update(reading, completed=done)
        )
    files = [row.per_second for row in rows if row.store == "files"]
    bars = [
        Bar(f"verified, {checked.records:,} records, time of one core", checked.cpu_seconds, VERIFY_SECONDS, "s"),
        Bar("confirmed in files, the best batch", max(files), PER_SECOND, "/s", at_most=False),
    ]
    if others := [row.per_second for row in rows if row.store != "files"]:
        bars.append(Bar("confirmed in PostgreSQL, the best batch", max(others), PER_SECOND, "/s", at_most=False))
    body = "\n\n".join([
        table(
            ("store", "batch", "records/s", "ms per batch"),
            [(row.store, row.batch, f"{row.per_second:,.0f}", f"{row.batch_ms:.1f}") for row in rows],
        ),
        table(
            ("verified records", "MB", "s", "CPU s", "records/s"),
            [(
                f"{checked.records:,}",
                f"{checked.megabytes:,.0f}",
                f"{checked.seconds:.1f}",
                f"{checked.cpu_seconds:.1f}",
                f"{checked.records / checked.seconds:,.0f}",
            )],
        ),
        "\n".join(f"- {bar}" for bar in bars),
    ])  # fmt: skip
    facts = machine.facts()
    data = {
        **facts,
        "appended": [asdict(row) for row in rows],
        "verified": asdict(checked),
        "bars": {bar.name: bar.figure for bar in bars},
    }
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.audit")
        results.write("audit", results.document("The audit log", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
