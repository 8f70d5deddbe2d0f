"""Observations become files: in a thread, with bounded memory, and dropped first. No request waits for it."""

from __future__ import annotations

import logging
import queue
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from modelward.capture import files
from modelward.capture.columns import CLEAN, QUARANTINE, Columns, UnknownFeature
from modelward.capture.files import Partition
from modelward.config.capture import Capture
from modelward.config.units import SECOND
from modelward.observe.batch import Batch
from modelward.telemetry.snapshot import CaptureSnapshot

log = logging.getLogger("modelward.capture")

MOST_BATCHES = 256  # that wait to be written
MOST_WAITING = 64 << 20  # bytes of them
MOST_BUFFERED = 128 << 20  # bytes of rows that wait for their file to be large or old enough
ROUND_SECONDS = 0.5
RETENTION_SECONDS = 60.0
QUIET_SECONDS = 60.0  # between two lines in the log about one model
STOP_SECONDS = 20.0


@dataclass
class Buffer:
    """Rows of one partition that have one schema."""

    settings: Capture
    began: float
    tables: list[pa.Table] = field(default_factory=list)
    bytes: int = 0
    rows: int = 0


class CaptureWriter:
    """settings: by model, of those that are captured. root: the folder of those that name none. key: of the hashes in
    place of features."""

    def __init__(self, settings: Callable[[], Mapping[str, Capture]], root: Path, key: bytes) -> None:
        self._settings = settings
        self._root = root
        self._key = key
        self._queue: queue.Queue[Batch] = queue.Queue(MOST_BATCHES)
        self._waiting = 0
        self._buffers: dict[tuple[Partition, pa.Schema], Buffer] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows: Counter[tuple[str, str]] = Counter()
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._files: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._removed: Counter[str] = Counter()
        self._quiet_until: dict[str, float] = {}
        self._retained_at = 0.0

    def take(self, batch: Batch) -> None:
        """From the thread that reads observations. Returns at once."""
        if batch.source.model not in self._settings():
            return
        size = _size(batch)
        if self._waiting + size > MOST_WAITING:
            self._drop(batch.source.model, "queue", len(batch))
            return
        try:
            self._queue.put_nowait(batch)
        except queue.Full:
            self._drop(batch.source.model, "queue", len(batch))
            return
        with self._lock:
            self._waiting += size

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes what is there, and ends."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def stats(self) -> CaptureSnapshot:
        with self._lock:
            return CaptureSnapshot(
                dict(self._rows), dict(self._dropped), dict(self._files), dict(self._bytes), dict(self._removed)
            )

    # ---- the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round(ROUND_SECONDS)
            except Exception:
                log.exception("capture: a round failed")
                self._stopping.wait(ROUND_SECONDS)
        self.round(0)
        self._write_where(lambda buffer: True)

    def round(self, wait: float) -> None:
        """Takes what waits, for so many seconds at most where nothing does; writes what is due."""
        try:
            batch = self._queue.get(timeout=wait) if wait else self._queue.get_nowait()
            while True:
                self._add(batch)
                batch = self._queue.get_nowait()
        except queue.Empty:
            pass
        now = time.monotonic()
        self._write_where(lambda b: b.bytes >= b.settings.file_size or now - b.began >= b.settings.file_age / SECOND)
        while sum(buffer.bytes for buffer in self._buffers.values()) > MOST_BUFFERED:
            largest = max(buffer.bytes for buffer in self._buffers.values())
            self._write_where(lambda b, most=largest: b.bytes >= most)  # type: ignore[misc]
        if now - self._retained_at >= RETENTION_SECONDS:
            self._retained_at = now
            self._retain()

    def _add(self, batch: Batch) -> None:
        model = batch.source.model
        with self._lock:
            self._waiting -= _size(batch)
        settings = self._settings().get(model)
        if settings is None:
            return
        try:
            table = self._table(batch, settings)
        except UnknownFeature as error:
            self._drop(model, "features", len(batch))
            self._tell(model, f"{error}: nothing of the model is captured. Name its inputs as its metadata does")
            return
        except (ValueError, TypeError, KeyError, struct.error, pa.ArrowException) as error:
            self._drop(model, "unreadable", len(batch))
            self._tell(model, f"a batch cannot be written as it is: {type(error).__name__}: {error}")
            return
        suspicious = pc.not_equal(table["quarantine"], "")
        dates = pc.strftime(table["time"], format="%Y-%m-%d")
        for date in dates.unique().to_pylist():
            today = pc.equal(dates, date)
            for part, mask in ((CLEAN, pc.and_not(today, suspicious)), (QUARANTINE, pc.and_(today, suspicious))):
                self._buffer(Partition(model, batch.source.version, date, part), table.filter(mask), settings)

    def _table(self, batch: Batch, settings: Capture) -> pa.Table:
        chosen = batch.chosen(settings.share)
        # an input that was too large is not there: such a row trains nothing
        lost = (batch.requests["inputs_size"] == 0)[batch.request]
        if (lost & chosen).any():
            self._drop(batch.source.model, "too_large", int((lost & chosen).sum()))
        columns = Columns(batch.source, settings, self._key)
        return columns.table(batch).filter(pa.array(chosen & ~lost))

    def _buffer(self, partition: Partition, table: pa.Table, settings: Capture) -> None:
        if not table.num_rows:
            return
        key = partition, table.schema
        buffer = self._buffers.get(key)
        if buffer is None:
            buffer = self._buffers[key] = Buffer(settings, time.monotonic())
        buffer.tables.append(table)
        buffer.bytes += table.nbytes
        buffer.rows += table.num_rows

    def _write_where(self, due: Callable[[Buffer], bool]) -> None:
        for key, buffer in [*self._buffers.items()]:
            if due(buffer):
                del self._buffers[key]
                self._write(key[0], buffer)

    def _write(self, partition: Partition, buffer: Buffer) -> None:
        model, part = partition.model, partition.part
        root = buffer.settings.folder or self._root
        try:
            file = files.write(root, partition, pa.concat_tables(buffer.tables))
            size = file.stat().st_size
        except (OSError, pa.ArrowException) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._drop(model, "disk", buffer.rows)
            self._tell(model, f"{buffer.rows} rows cannot be written to {root}: {why}. The server goes on without them")
            return
        with self._lock:
            self._rows[model, part] += buffer.rows
            self._files[model] += 1
            self._bytes[model] += size

    def _retain(self) -> None:
        """What is not captured any more is its owner's to remove."""
        for model, settings in self._settings().items():
            root, kept = settings.folder or self._root, settings.retention
            try:
                removed = files.remove_old(root, model, kept.days, kept.size)
            except OSError as error:
                self._tell(model, f"old files in {root} cannot be removed: {error.strerror or error}")
                continue
            with self._lock:
                self._removed[model] += len(removed)

    def _drop(self, model: str, reason: str, rows: int) -> None:
        with self._lock:
            self._dropped[model, reason] += rows

    def _tell(self, model: str, what: str) -> None:
        if (now := time.monotonic()) >= self._quiet_until.get(model, 0.0):
            self._quiet_until[model] = now + QUIET_SECONDS
            log.error("capture of model %s: %s", model, what, extra={"fields": {"model": model}})


def _size(batch: Batch) -> int:
    sizes = sum(map(len, batch.raw_inputs)) + sum(map(len, batch.raw_answers))
    return sizes + batch.features.nbytes + batch.rows.nbytes + batch.requests.nbytes
