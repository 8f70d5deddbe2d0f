"""Observations become files: in a thread, with bounded memory, and dropped first. No request waits for it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field

from modelward.capture import files, shares
from modelward.capture.columns import CLEAN, QUARANTINE, Columns, UnknownFeature
from modelward.capture.files import Partition
from modelward.config.capture import Capture
from modelward.config.units import SECOND
from modelward.observe.batch import Batch
from modelward.observe.source import Source
from modelward.telemetry.snapshot import CaptureSnapshot

log = logging.getLogger("modelward.capture")

MOST_BATCHES = 256  # that wait to be made columns of
MOST_WAITING = 64 << 20  # bytes of them, as they came
MOST_BUFFERED = 128 << 20  # bytes of rows that wait for their file to be large or old enough
MOST_TABLES = 64  # that are put together to one
MOST_TOGETHER = 1 << 20  # bytes of them
COLUMN_BYTES = 1024  # of a table, beside its values: what a small table takes is this
ROUND_SECONDS = 0.5  # after so long files are looked at that are old, however much waits
RETENTION_SECONDS = 60.0
EARLY = 1 / 8  # of the room, which new files fill before that
QUIET_SECONDS = 60.0  # between two lines in the log about one model
STOP_SECONDS = 20.0
MOST_SOURCES = 256


class Buffer(Struct):
    """Rows of one partition that have one schema. Small tables are put together, since each takes some KiB."""

    settings: Capture
    began: float
    large: list[pa.Table] = field(default_factory=list)
    small: list[pa.Table] = field(default_factory=list)
    bytes: int = 0
    rows: int = 0
    _together: int = 0  # bytes of the small ones

    def add(self, table: pa.Table) -> None:
        self.small.append(table)
        self.rows += table.num_rows
        self.bytes += _bytes(table)
        self._together += _bytes(table)
        if len(self.small) >= MOST_TABLES or self._together >= MOST_TOGETHER:
            made = self.small[0] if len(self.small) == 1 else pa.concat_tables(self.small).combine_chunks()
            self.large.append(made)
            self.bytes += _bytes(made) - self._together
            self.small, self._together = [], 0

    def table(self) -> pa.Table:
        return pa.concat_tables([*self.large, *self.small])


class CaptureWriter:
    """settings: by model, of those that are captured. root: the folder of those that name none. key: of the hashes in
    place of features."""

    def __init__(self, settings: Callable[[], Mapping[str, Capture]], root: Path, key: bytes) -> None:
        self._settings = settings
        self._root = root
        self._key = key
        self._queue: queue.Queue[Batch] = queue.Queue(MOST_BATCHES)
        self._waiting = 0
        self._made: dict[tuple[str, str], Columns] = {}
        self._buffers: dict[tuple[Partition, pa.Schema], Buffer] = {}
        self._buffered = 0
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
        self._new_bytes: Counter[str] = Counter()

    def take(self, batch: Batch) -> None:
        """From the thread that reads observations. Returns at once. What finds no room is dropped and counted."""
        model = batch.source.model
        settings = self._settings().get(model)
        if settings is None:
            return
        chosen = batch.chosen_requests(settings.share)
        # an input that was too large is not there: such a row trains nothing
        lost = chosen & (batch.requests["inputs_size"] == 0)
        if rows := int(batch.requests["rows"][lost].sum()):
            self._drop(model, "too_large", rows)
        for piece in batch.only(chosen & ~lost).pieces():
            if len(piece) and not self._queued(piece):
                self._drop(model, "queue", len(piece))

    def _queued(self, piece: Batch) -> bool:
        size = int(piece.sizes.sum())
        with self._lock:
            if self._waiting + size > MOST_WAITING:
                return False
            self._waiting += size
        try:
            self._queue.put_nowait(piece)
        except queue.Full:
            with self._lock:
                self._waiting -= size
            return False
        return True

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
        while not self._queue.empty():
            self.round(0)
        self._write_where(lambda buffer: True)

    def round(self, wait: float) -> None:
        """Takes what waits, for so many seconds at most where nothing does, and goes on for ROUND_SECONDS. A file is
        written as soon as it is large enough; those that are old enough at the end."""
        until = time.monotonic() + ROUND_SECONDS
        try:
            piece = self._queue.get(timeout=wait) if wait else self._queue.get_nowait()
            while True:
                with self._lock:
                    self._waiting -= int(piece.sizes.sum())
                self._add(piece)
                if time.monotonic() >= until:
                    break
                piece = self._queue.get_nowait()
        except queue.Empty:
            pass
        now = time.monotonic()
        self._write_where(lambda b: now - b.began >= b.settings.file_age / SECOND)
        if now - self._retained_at >= RETENTION_SECONDS or self._many_new_bytes():
            self._retained_at = now
            self._new_bytes.clear()
            self._retain()

    def _add(self, batch: Batch) -> None:
        model = batch.source.model
        settings = self._settings().get(model)
        if settings is None:
            return
        try:
            table = self._columns(batch.source, settings).table(batch)
        except UnknownFeature as error:
            self._drop(model, "features", len(batch))
            self._tell(model, f"{error}: nothing of the model is captured. Name its inputs as its metadata does")
            return
        except (ValueError, TypeError, KeyError, pa.ArrowException) as error:
            self._apart(batch, error)
            return
        suspicious = pc.not_equal(table["quarantine"], "").to_numpy()
        days = table["time"].to_numpy().astype("M8[D]")
        for day in np.unique(days):
            for part, rows in ((CLEAN, ~suspicious), (QUARANTINE, suspicious)):
                chosen = (days == day) & rows
                if chosen.any():
                    of_part = table if chosen.all() else table.filter(pa.array(chosen))
                    self._buffer(Partition(model, batch.source.version, str(day), part), of_part, settings)

    def _apart(self, batch: Batch, error: Exception) -> None:
        """A request that cannot be written costs no other: halves are tried until it is alone."""
        half = len(batch.requests) // 2
        if not half:
            self._drop(batch.source.model, "unreadable", len(batch))
            self._tell(batch.source.model, f"a request cannot be written as it is: {type(error).__name__}: {error}")
            return
        first = np.arange(len(batch.requests)) < half
        for part in (batch.only(first), batch.only(~first)):
            self._add(part)

    def _columns(self, source: Source, settings: Capture) -> Columns:
        """Raises UnknownFeature."""
        found = self._made.get(source.key)
        if found is None or found.source is not source or found.settings is not settings:
            if len(self._made) >= MOST_SOURCES:
                self._made.clear()
            found = self._made[source.key] = Columns(source, settings, self._key)
        return found

    def _buffer(self, partition: Partition, table: pa.Table, settings: Capture) -> None:
        if not table.num_rows:
            return
        key = partition, table.schema
        buffer = self._buffers.get(key)
        if buffer is None:
            buffer = self._buffers[key] = Buffer(settings, time.monotonic())
        self._buffered -= buffer.bytes
        buffer.add(table)
        self._buffered += buffer.bytes
        if buffer.bytes >= buffer.settings.file_size:
            self._write_where(lambda each: each is buffer)
        while self._buffered > MOST_BUFFERED:
            largest = max(self._buffers.values(), key=lambda each: each.bytes)
            self._write_where(lambda each, most=largest: each is most)  # type: ignore[misc]

    def _write_where(self, due: Callable[[Buffer], bool]) -> None:
        for key, buffer in [*self._buffers.items()]:
            if due(buffer):
                del self._buffers[key]
                self._buffered -= buffer.bytes
                self._write(key[0], buffer)

    def _write(self, partition: Partition, buffer: Buffer) -> None:
        model, part = partition.model, partition.part
        root = buffer.settings.folder or self._root
        for owner, table in shares.by_owner(buffer.table()):
            rows = table.num_rows
            try:
                size = files.write(root, partition, table, owner).stat().st_size
            except (OSError, pa.ArrowException) as error:
                why = getattr(error, "strerror", None) or str(error)
                self._drop(model, "disk", rows)
                self._tell(model, f"{rows} rows cannot be written to {root}: {why}. The server goes on without them")
                continue
            self._new_bytes[model] += size
            with self._lock:
                self._rows[model, part] += rows
                self._files[model] += 1
                self._bytes[model] += size

    def _many_new_bytes(self) -> bool:
        """Whether a model has written so much that it is not to wait for its time."""
        captured = self._settings().items()
        return any(self._new_bytes[model] > each.retention.size * EARLY for model, each in captured)

    def _retain(self) -> None:
        """What is not captured any more is its owner's to remove."""
        for model, settings in self._settings().items():
            root, kept = settings.folder or self._root, settings.retention
            try:
                removed = files.remove_old(root, model, kept.days, partial(shares.surplus, size=kept.size))
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


def _bytes(table: pa.Table) -> int:
    values: int = table.nbytes
    return values + COLUMN_BYTES * int(table.num_columns)
