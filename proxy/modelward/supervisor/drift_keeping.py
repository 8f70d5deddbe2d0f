"""What was learnt about drift outlives the supervisor: read at its beginning, written each minute and at its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from modelward.drift.monitor import DriftMonitor
from modelward.drift.state import StateError
from modelward.drift.store import Kept, Store

log = logging.getLogger("modelward.drift")

FOLDER = "drift"  # within the state folder
SECONDS = 60.0
"""Between two writings: what is learnt in that time is lost where the supervisor is killed."""


class DriftKeeping:
    """failures: files that could not be written."""

    def __init__(self, monitor: DriftMonitor, state: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0
        self._monitor = monitor
        self._store = Store(state / FOLDER)
        self._clock = clock
        self._wrote = clock()
        self._rows: dict[tuple[str, str], int] = {}
        self._failing = False
        self._writing = threading.Lock()

    def resume(self) -> None:
        found: list[Kept] = []
        try:
            for each in self._store.load():
                if isinstance(each, StateError):
                    log.warning("what was learnt about drift is not used: %s", each)
                else:
                    found.append(each)
        except OSError as error:
            log.warning("what was learnt about drift is not read: %s: %s", self._store.folder, error.strerror)
        self._monitor.resume(found)

    @property
    def due(self) -> bool:
        return self._clock() - self._wrote >= SECONDS

    def write(self) -> None:
        """What has changed since the last time. Takes milliseconds a version: for a thread."""
        with self._writing:
            self._wrote, failed = self._clock(), ""
            watched = self._monitor.versions()
            for key in watched:
                kept = self._monitor.kept(key, self._rows.get(key, -1))
                try:
                    if kept is not None:
                        self._store.save(kept[1])
                        self._rows[key] = kept[0]
                except OSError as error:
                    self.failures += 1
                    failed = error.strerror or str(error)
            try:
                self._store.forget(watched)
            except OSError as error:
                failed = error.strerror or str(error)
            self._rows = {key: rows for key, rows in self._rows.items() if key in watched}
            self._tell(failed)

    def _tell(self, failed: str) -> None:
        """Once when it begins, and once when it ends."""
        if failed and not self._failing:
            log.error("%s: what is learnt about drift would not outlive a restart: %s", self._store.folder, failed)
        elif self._failing and not failed:
            log.warning("%s: what is learnt about drift is written again", self._store.folder)
        self._failing = bool(failed)
