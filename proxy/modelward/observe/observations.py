"""Reads the rings of all workers, in a thread, and hands what it found to those that look at it.

Twice a second, and sooner where much waits: a batch costs more than each of its rows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from modelward.observe.batch import Batch
from modelward.observe.source import Source, SourceError
from modelward.telemetry.snapshot import ObservationSnapshot
from modelward_native.observe.reader import Reader
from modelward_native.region.region import Region

log = logging.getLogger("modelward.observe")

LOOK_SECONDS = 0.1  # between looks at how much waits
ROUND_SECONDS = 0.5  # after which what waits is read, be it ever so little
MUCH_BYTES = 1 << 19  # where the ring is large enough that it is an eighth of it at most
MOST_BYTES = 1 << 20  # of each ring and round: 10 MiB a second, some thousand requests
QUIET_SECONDS = 60.0  # between two lines in the log about one consumer
STOP_SECONDS = 5.0
MOST_SOURCES = 1024

Consumer = Callable[[Batch], None]


class Observations:
    """The one reader of a region: workers describe a source once. `subscribe`, then `start`.

    A consumer is called in the reader's thread with each piece of each batch (`Batch.pieces`), and returns soon: what
    it has to do with the disk it does in a thread of its own. One that raises is told in the log, and goes on.
    """

    def __init__(self, region: Region) -> None:
        self._reader = Reader(region)
        self._consumers: dict[str, Consumer] = {}
        self._sources: dict[bytes, Source | None] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._quiet_until: dict[str, float] = {}
        self._torn = 0
        self._failures = 0

    def subscribe(self, name: str, consumer: Consumer) -> None:
        """name: of the consumer, in words for the log."""
        self._consumers = {**self._consumers, name: consumer}

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="observations", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Once the workers have ended: what they have left is still handed on."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            self._thread = None
            until = time.monotonic() + STOP_SECONDS
            while self.round() and time.monotonic() < until:
                pass

    def stats(self) -> ObservationSnapshot:
        kept, dropped, cut = self._reader.stats()
        return ObservationSnapshot(kept, dropped, cut, self._reader.torn + self._torn, self._failures)

    def round(self) -> int:
        """Hands on what there is; how many requests that were. From one thread at a time."""
        clock = time.time_ns() - time.monotonic_ns()
        count = 0
        for group in self._reader.read(MOST_BYTES):
            count += group.count
            source = self._source(group.description)
            if source is None:
                self._torn += group.count
                continue
            for batch in Batch.of(source, group, clock).pieces():
                self._hand(batch)
        return count

    def _hand(self, batch: Batch) -> None:
        for name, consumer in self._consumers.items():
            try:
                consumer(batch)
            except Exception as error:  # noqa: BLE001 - counted and told
                self._failed(name, error)

    def _run(self) -> None:
        read_at = time.monotonic()
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                if time.monotonic() - read_at < ROUND_SECONDS and not self._reader.is_waiting(MUCH_BYTES):
                    continue
                read_at = time.monotonic()
                self.round()
            except Exception as error:  # noqa: BLE001 - counted and told
                self._failed("the reader", error)

    def _source(self, description: bytes) -> Source | None:
        if description not in self._sources:
            if len(self._sources) >= MOST_SOURCES:
                self._sources.clear()
            try:
                self._sources[description] = Source.decode(description)
            except SourceError as error:
                self._failed("the reader", error)
                self._sources[description] = None
        return self._sources[description]

    def _failed(self, name: str, error: Exception) -> None:
        self._failures += 1
        if (now := time.monotonic()) >= self._quiet_until.get(name, 0.0):
            self._quiet_until[name] = now + QUIET_SECONDS
            log.error("observations: %s failed on a batch: %s", name, error, exc_info=error)
