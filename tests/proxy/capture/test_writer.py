"""Captured rows on disk: whole files, bounded, and a server that goes on where they cannot be written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelward.capture import files, writer
from modelward.capture.columns import Columns
from modelward.capture.files import Partition, captured
from modelward.capture.shares import surplus
from modelward.capture.writer import Buffer, CaptureWriter
from modelward.config.capture import Capture
from modelward.observe.batch import Batch
from tests.proxy.capture.made import batch_of, tensors

KEY = b"0123456789abcdef"
Make = Callable[..., CaptureWriter]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(**settings: Any) -> CaptureWriter:
        found = {"m": Capture.model_validate({"share": 1.0} | settings)}
        return CaptureWriter(lambda: found, tmp_path / "capture", KEY)

    return made


def written(folder: Path) -> list[dict[str, Any]]:
    return [row for file in captured(folder) for row in pq.read_table(file.path, partitioning=None).to_pylist()]


def finish(made: CaptureWriter) -> None:
    """All that it was given is on disk, or dropped."""
    made.start()
    made.stop()


def test_clean_and_suspicious_rows_lie_in_partitions_of_their_own(make: Make, tmp_path: Path):
    made = make()
    made.take(batch_of([tensors(1)] * 4, flagged=[1, 0, 0, 0]))
    finish(made)
    by_part = {file.of.part: file for file in captured(tmp_path / "capture")}
    assert pq.read_metadata(by_part["clean"].path).num_rows == 3
    assert pq.read_metadata(by_part["quarantine"].path).num_rows == 1
    assert by_part["clean"].of == Partition("m", "1", "2023-11-14", "clean")
    assert made.stats().rows == {("m", "clean"): 3, ("m", "quarantine"): 1}


def test_files_and_folders_are_their_owners_alone(make: Make, tmp_path: Path):
    made = make()
    made.take(batch_of([tensors(1)]))
    finish(made)
    found = [tmp_path / "capture", *(tmp_path / "capture").rglob("*")]
    assert len(found) == 6
    assert {path.stat().st_mode & 0o777 for path in found} == {0o700, 0o600}
    assert [path.name for path in found if path.name.startswith(".")] == []


def test_a_share_of_the_requests_is_written(make: Make, tmp_path: Path):
    made = make(share=0.5)
    made.take(batch_of([tensors(1)] * 4, chance=[0, 2**30, 2**31 + 1, 2**32 - 1]))
    finish(made)
    assert [row["request_id"] for row in written(tmp_path / "capture")] == ["r0", "r1"]


def test_rows_wait_until_their_file_is_large_enough(make: Make, tmp_path: Path):
    made = make(file_size=65536)
    made.take(batch_of([tensors(1)]))
    made.round(0)
    assert written(tmp_path / "capture") == []
    made.take(batch_of([tensors(256)] * 5))
    made.round(0)
    assert len(written(tmp_path / "capture")) == 1281


def test_rows_of_two_days_lie_in_two_folders(make: Make, tmp_path: Path):
    made = make()
    made.take(batch_of([tensors(1)] * 2, at=[0, 86400 * 10**9]))
    finish(made)
    assert [file.of.date for file in captured(tmp_path / "capture")] == ["2023-11-14", "2023-11-15"]


def test_inputs_that_were_too_large_to_be_seen_are_counted(make: Make, tmp_path: Path):
    made = make()
    batch = batch_of([tensors(1)] * 2)
    batch.requests["inputs_size"][0] = 0
    object.__setattr__(batch, "raw_inputs", (b"", batch.raw_inputs[1]))
    made.take(batch)
    finish(made)
    assert [row["request_id"] for row in written(tmp_path / "capture")] == ["r1"]
    assert made.stats().dropped == {("m", "too_large"): 1}


def test_a_feature_that_is_not_known_keeps_all_of_the_model_off_the_disk(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    made = make(features={"agee": "leave_out"})
    made.take(batch_of([tensors(3)]))
    finish(made)
    assert not (tmp_path / "capture").exists()
    assert made.stats().dropped == {("m", "features"): 3}
    assert "nothing of the model is captured" in caplog.text


def test_a_folder_that_cannot_be_written_is_told_once_and_counted(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "capture").write_text("a file is in the way")
    made = make()
    for _ in range(3):
        made.take(batch_of([tensors(2)]))
        made.round(0)
        made._write_where(lambda buffer: True)
    finish(made)
    assert made.stats().dropped == {("m", "disk"): 6}
    assert caplog.text.count("cannot be written") == 1


def test_no_space_left_leaves_no_half_file(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(table: Any, out: Any, **options: Any) -> None:
        out.write(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    made = make()
    made.take(batch_of([tensors(1)]))
    finish(made)
    assert made.stats().dropped == {("m", "disk"): 1}
    assert [path for path in (tmp_path / "capture").rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    later = make()
    later.take(batch_of([tensors(1)]))
    finish(later)
    assert len(written(tmp_path / "capture")) == 1


def test_what_finds_the_queue_full_is_dropped_and_counted(make: Make, monkeypatch: pytest.MonkeyPatch):
    made = make()
    batch = batch_of([tensors(1)])
    for _ in range(writer.MOST_BATCHES + 5):
        made.take(batch)
    assert made.stats().dropped == {("m", "queue"): 5}
    monkeypatch.setattr(writer, "MOST_WAITING", 1)
    other = make()
    other.take(batch)
    assert other.stats().dropped == {("m", "queue"): 1}


def after_each(made: CaptureWriter, then: Callable[[], None]) -> None:
    """Of the batches that are taken from the queue."""
    add = made._add

    def added(taken: Batch) -> None:
        add(taken)
        then()

    made._add = added  # type: ignore[assignment, method-assign]


def test_a_round_ends_although_requests_keep_coming(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "ROUND_SECONDS", 0.0)
    made = make()
    batch, left = batch_of([tensors(1)]), iter(range(3))

    def send() -> None:
        assert next(left, None) is not None, "the round goes on as long as requests come"
        made.take(batch)

    made.take(batch)
    after_each(made, send)
    made.round(0)
    made.round(0)


def test_files_are_written_while_others_wait(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "ROUND_SECONDS", 60.0)
    made = make(file_size=65536)
    held: list[int] = []
    after_each(made, lambda: held.append(made._buffered))
    for _ in range(9):
        made.take(batch_of([tensors(200)]))
    made.round(0)
    assert len(held) == 9
    assert max(held) < 65536
    assert made.stats().files["m"] > 1


def test_memory_is_bounded_while_no_file_is_large_enough(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "ROUND_SECONDS", 60.0)
    monkeypatch.setattr(writer, "MOST_BUFFERED", 150_000)
    made = make()
    held: list[int] = []
    after_each(made, lambda: held.append(made._buffered))
    for i in range(9):
        made.take(batch_of([tensors(200)], flagged=[i % 2]))
    made.round(0)
    assert 75_000 < max(held) <= 150_000
    assert made._buffered == sum(buffer.bytes for buffer in made._buffers.values())


def test_many_small_tables_are_put_together_and_count_for_what_they_take():
    columns = Columns(batch_of([tensors(1)]).source, Capture(), KEY)
    buffer = Buffer(Capture(), 0.0)
    for i in range(500):
        buffer.add(columns.table(batch_of([tensors(1, i)])))
    assert len(buffer.large) + len(buffer.small) < 100
    assert buffer.table().num_rows == buffer.rows == 500
    assert buffer.table()["input.x"].to_pylist()[7] == tensors(1, 7)["x"][0].tolist()
    assert buffer.bytes >= 500 * 150
    small = Buffer(Capture(), 0.0)
    small.add(columns.table(batch_of([tensors(1)])))
    assert small.bytes > 1000 * len(columns.schema)


def test_a_request_that_cannot_be_written_costs_no_other(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    table = Columns.table

    def odd(columns: Columns, batch: Batch) -> pa.Table:
        if b"r3" in batch.ids:
            raise pa.ArrowInvalid("it is odd")
        return table(columns, batch)

    monkeypatch.setattr(Columns, "table", odd)
    made = make()
    made.take(batch_of([tensors(2)] * 6))
    finish(made)
    assert {row["request_id"] for row in written(tmp_path / "capture")} == {"r0", "r1", "r2", "r4", "r5"}
    assert made.stats().dropped == {("m", "unreadable"): 2}
    assert "a request cannot be written as it is: ArrowInvalid: it is odd" in caplog.text


def test_what_is_not_chosen_takes_no_room(make: Make):
    made = make(share=0.01)
    made.take(batch_of([tensors(100)] * 50, chance=[0] + [2**32 - 1] * 49))
    assert made._waiting == made._queue.queue[0].sizes.sum() < 20_000


def test_all_that_waits_is_written_when_the_server_ends(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "ROUND_SECONDS", 0.0)
    made = make()
    for _ in range(5):
        made.take(batch_of([tensors(1)]))
    finish(made)
    assert len(written(tmp_path / "capture")) == 5
    assert made._waiting == 0


def test_an_identity_that_sends_much_does_not_push_out_what_others_have_sent(make: Make, tmp_path: Path):
    made = make(retention={"size": 1 << 20}, file_size=65536)
    honest = batch_of([tensors(200)], identity=[7])
    many = batch_of([tensors(200, seed) for seed in range(20)], identity=[8] * 20)
    for batch in [honest] * 3 + [many] * 8:
        made.take(batch)
        made.round(0)
    finish(made)
    made._retain()
    rows = [row["identity"] for row in written(tmp_path / "capture")]
    assert rows.count(f"{7:016x}") == 600
    assert made.stats().removed["m"] > 0
    assert sum(file.bytes for file in captured(tmp_path / "capture")) <= 1 << 20


def test_old_files_and_those_beyond_the_size_are_removed_the_oldest_first(tmp_path: Path):
    of = Partition("a/b*", "1", "2026-01-01", "clean")
    made = []
    for age in (5, 1, 3):
        table = pq.read_table(_one_file(tmp_path), partitioning=None)
        made.append(files.write(tmp_path, of, table))
        os.utime(made[-1], (time.time() - age * 86400,) * 2)
    other = files.write(tmp_path, of._replace(model="a/b"), table)
    size = made[0].stat().st_size
    for days, most, gone in ((4, 10 * size, made[0]), (30, size, made[2])):
        removed = files.remove_old(tmp_path, "a/b*", days, partial(surplus, size=most))
        assert [file.path for file in removed] == [gone]
        assert not gone.exists()
    assert {file.path for file in captured(tmp_path)} >= {made[1], other}
    assert {file.of.model for file in captured(tmp_path, "a/b*")} == {"a/b*"}


def test_what_a_killed_server_has_left_half_written_is_removed(tmp_path: Path):
    folder = files.folder_of(tmp_path, Partition("m", "1", "2026-01-01", "clean"))
    folder.mkdir(parents=True)
    (folder / ".120000-aa.parquet.x1").write_bytes(b"PAR1")
    (folder / ".120001-bb.parquet.x2").write_bytes(b"PAR1")
    os.utime(folder / ".120000-aa.parquet.x1", (time.time() - 7200,) * 2)
    files.remove_old(tmp_path, "m", 30, partial(surplus, size=1 << 30))
    assert [path.name for path in folder.iterdir()] == [".120001-bb.parquet.x2"]
    assert list(captured(tmp_path)) == []


def _one_file(root: Path) -> Path:
    found = {"m": Capture(share=1.0)}
    made = CaptureWriter(lambda: found, root / "one", KEY)
    made.take(batch_of([tensors(1)]))
    finish(made)
    return next(captured(root / "one")).path
