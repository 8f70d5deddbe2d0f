"""All versions that are watched. Batches come in the thread that reads observations; all else is asked on the loop."""

from __future__ import annotations

import json
import logging
import threading
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Container, Iterable
from typing import Any

import numpy as np
from msgspec import Struct, field

from modelward.config.drift import Drift
from modelward.drift.cause import Cause
from modelward.drift.report import version_of
from modelward.drift.state import StateError, columns_of, state_of, watch_of
from modelward.drift.store import Kept
from modelward.drift.table import Chosen, Column, Kind, Table, inputs_of, outputs_of, training_of
from modelward.drift.watch import Raised, Watch
from modelward.drift.whose import cause
from modelward.observe.batch import Batch
from modelward.observe.source import Source
from modelward.telemetry.snapshot import DriftSnapshot

log = logging.getLogger("modelward.drift")

MOST_VERSIONS = 32
"""Watched at a time: about 6 MiB each at most. The one that was seen longest ago gives way."""
ROWS_A_SECOND = 1000
"""Of one version, that are judged. More are left out, evenly, and counted."""
EVENTS_KEPT = 64
FEWEST_REQUESTS = 100.0
"""Fewest requests between false alarms that are kept to, whatever the share is."""


TABLES = {"inputs": inputs_of, "outputs": outputs_of, "training": training_of}
"""What is watched of a version, each by itself."""
ACCEPTED = ("inputs", "outputs")
"""Sides whose present can become what is usual: the others are compared with what does not change."""


class DriftEvent(Struct, frozen=True):
    """An alarm that was raised, or has ended. side: of TABLES. first: the signal that raised it. lost: why it is not
    judged any more; empty where it has ended since things are as before."""

    model: str
    version: str
    digest: str
    side: str
    raised: bool
    at: float
    since: float
    first: str
    lost: str = ""


class _Version(Struct):
    digest: str
    settings: Drift
    source: Source | None = None
    watches: dict[str, Watch] = field(default_factory=dict)
    second: int = 0
    rows: int = 0
    skipped: int = 0
    alarms: dict[str, int] = field(default_factory=dict)


class DriftMonitor:
    """settings: of a model as it is configured now; None where it is not watched."""

    def __init__(self, settings: Callable[[str], Drift | None]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._versions: OrderedDict[tuple[str, str], _Version] = OrderedDict()
        self._events: deque[DriftEvent] = deque(maxlen=EVENTS_KEPT)

    def take(self, batch: Batch) -> None:
        """From the reader's thread."""
        settings = self._settings(batch.source.model)
        if settings is None or not len(batch):
            return
        with self._lock:
            version = self._version(batch, settings)
            rows = _paced(version, batch, batch.chosen(settings.share))
            for side, table_of in TABLES.items():
                table = table_of(batch, rows)
                if len(table) and table.columns:
                    self._add(batch, version, side, table)

    def events(self) -> list[DriftEvent]:
        """Since the last call."""
        with self._lock:
            found = [*self._events]
            self._events.clear()
        return found

    def report(self, model: str = "") -> list[dict[str, Any]]:
        """Of each version of the model, or of all. One is looked at after the other, so that no one waits long."""
        with self._lock:
            keys = sorted(key for key in self._versions if model in ("", key[0]))
        return [told for key in keys if (told := self._told(key)) is not None]

    def _told(self, key: tuple[str, str]) -> dict[str, Any] | None:
        with self._lock:
            version = self._versions.get(key)
            if version is None:
                return None
            cause = str(self._cause(*key))
            facts = {"model": key[0], "version": key[1], "digest": version.digest, "cause": cause}
            return version_of(version.watches, version.source, **facts, **_told(version.settings))

    def cause(self, model: str, version: str) -> Cause:
        with self._lock:
            return self._cause(model, version)

    def stats(self) -> dict[tuple[str, str], DriftSnapshot]:
        with self._lock:
            return {key: _stats(each) for key, each in self._versions.items()}

    def resume(self, kept: Iterable[Kept]) -> None:
        """What was learnt before this began, of versions that are watched with the same settings. What does not fit is
        learnt again."""
        for each in kept:
            settings = self._settings(each.model)
            if settings is None or not _is_of(settings, each):
                continue
            try:
                watches = {side: _resumed(each, side, settings) for side in each.sides if side in TABLES}
            except StateError as error:
                log.warning("model %s version %s: its drift is learnt again, %s", each.model, each.version, error)
                continue
            with self._lock:
                if each.key not in self._versions and len(self._versions) < MOST_VERSIONS:
                    self._versions[each.key] = _Version(each.digest, settings, watches=watches)
                    self._versions.move_to_end(each.key, last=False)  # the latest come first

    def versions(self) -> list[tuple[str, str]]:
        with self._lock:
            return [*self._versions]

    def kept(self, key: tuple[str, str], beyond: int) -> tuple[int, Kept] | None:
        """What was learnt of a version, and of how many rows, if these are others than `beyond`."""
        with self._lock:
            version = self._versions.get(key)
            if version is None or (rows := sum(w.rows + w.waits for w in version.watches.values())) == beyond:
                return None
            settings = version.settings.model_dump_json()
            return rows, Kept(
                *key, version.digest, settings, {side: state_of(w) for side, w in version.watches.items()}
            )

    def alarms(self, model: str, version: str | None) -> list[tuple[str, str, str, float]]:
        """Those that can be accepted, of a version or of all: version, digest, side and when it was raised."""
        with self._lock:
            return sorted(
                (number, each.digest, side, watch.raised.at)
                for (name, number), each in self._versions.items()
                for side, watch in each.watches.items()
                if name == model and version in (None, number) and watch.raised is not None and side in ACCEPTED
            )

    def accept(self, model: str, version: str | None) -> list[tuple[str, str]]:
        """Takes the present of a version, or of all, as what is usual where an alarm stands; of which. Likeness
        to the training data goes on being compared with these."""
        with self._lock:
            found = []
            for key, each in self._versions.items():
                raised = [side for side, w in each.watches.items() if w.raised is not None and side in ACCEPTED]
                if key[0] != model or version not in (None, key[1]) or not raised:
                    continue
                for side in raised:
                    watch = each.watches[side]
                    each.watches[side] = watch.accepted(_seed(key, side, watch.rows))
                found.append(key)
            return sorted(found)

    def keep(self, models: Container[str]) -> None:
        """Forgets versions of all other models."""
        with self._lock:
            for key in [key for key in self._versions if key[0] not in models]:
                self._lose(key, "drift of the model is not watched any more")
                del self._versions[key]

    def _version(self, batch: Batch, settings: Drift) -> _Version:
        key, digest = batch.source.key, batch.source.digest
        found = self._versions.get(key)
        if found is not None and (found.digest != digest or found.settings != settings):
            self._lose(key, "it has other files" if found.digest != digest else "its settings have changed")
            found = None
        if found is None:
            found = self._versions[key] = _Version(digest, settings)
        found.source = batch.source
        self._versions.move_to_end(key)
        while len(self._versions) > MOST_VERSIONS:
            oldest = next(iter(self._versions))
            self._lose(oldest, f"{MOST_VERSIONS} other versions were seen since")
            del self._versions[oldest]
        return found

    def _add(self, batch: Batch, version: _Version, side: str, table: Table) -> None:
        watch = version.watches.get(side)
        if watch is not None and watch.columns != table.columns:
            self._lose(batch.source.key, "its tensors are others than before", side)
        if watch is None or watch.columns != table.columns:
            seed = _seed(batch.source.key, side)
            watch = version.watches[side] = _watch(version.settings, table.columns, seed)
        before = watch.raised
        if not watch.add(table):
            return
        raised = watch.raised or before
        assert raised is not None
        if watch.raised is not None:
            version.alarms[side] = version.alarms.get(side, 0) + 1
        self._tell(batch.source.key, side, raised, float(table.time[-1]), raised=watch.raised is not None)

    def _lose(self, key: tuple[str, str], why: str, *sides: str) -> None:
        """What was learnt of a version, or of some of its sides, is about to be given up."""
        version = self._versions[key]
        lost = [side for side in sides or version.watches if version.watches[side].rows]
        if lost:
            log.info("model %s version %s: its %s: what was learnt is given up: %s", *key, " and ".join(lost), why)
        for side in lost:
            watch = version.watches[side]
            if watch.raised is not None:
                self._tell(key, side, watch.raised, float(watch.recent.table().time.max()), lost=why)

    def _tell(
        self, key: tuple[str, str], side: str, of: Raised, at: float, *, raised: bool = False, lost: str = ""
    ) -> None:
        version = self._versions[key]
        signals = version.watches[side].signals
        assert signals is not None
        first = signals.all[of.first].name
        self._events.append(DriftEvent(*key, version.digest, side, raised, at, of.since, first, lost))

    def _cause(self, model: str, version: str) -> Cause:
        watched = {number: each.watches for (name, number), each in self._versions.items() if name == model}
        return cause(version, watched)


def _is_of(settings: Drift, kept: Kept) -> bool:
    """Whether it was learnt with these settings. Those that the release did not know yet are no difference."""
    try:
        ours, theirs = json.loads(settings.model_dump_json()), json.loads(kept.settings)
    except ValueError:
        return False
    return isinstance(theirs, dict) and ours | theirs == ours


def _resumed(kept: Kept, side: str, settings: Drift) -> Watch:
    """Raises StateError."""
    facts, arrays = kept.sides[side]
    rows = facts.get("rows")
    seed = _seed(kept.key, side, rows if isinstance(rows, int) else 0)
    return watch_of(facts, arrays, _watch(settings, columns_of(facts), seed))


def _seed(key: tuple[str, str], side: str, rows: int = 0) -> int:
    """rows: that were judged before, so that no draw comes twice."""
    return zlib.crc32(f"{key}{side}{rows or ''}".encode())


def _watch(settings: Drift, columns: tuple[Column, ...], seed: int) -> Watch:
    """Each side has its part of the false alarms. Of the requests only a share is seen."""
    requests = max(len(TABLES) * settings.false_alarms * settings.share, FEWEST_REQUESTS)
    trained = any(column.kind is Kind.P_VALUE for column in columns)
    tolerance = settings.training_tolerance if trained else settings.tolerance
    return Watch(columns, requests, tolerance, seed)


def _paced(version: _Version, batch: Batch, rows: Chosen) -> Chosen:
    """Of the rows at most ROWS_A_SECOND in each second, evenly."""
    second = int(batch.time[-1])
    if second != version.second:
        version.second, version.rows = second, 0
    index = np.flatnonzero(rows)
    left = max(0, ROWS_A_SECOND - version.rows)
    version.rows += len(index)
    if len(index) <= left:
        return rows
    version.skipped += len(index) - left
    kept = np.zeros(len(rows), np.bool_)
    kept[index[np.linspace(0, len(index) - 1, left).astype(int)]] = True
    return kept


def _told(settings: Drift) -> dict[str, Any]:
    return {
        "false_alarms": settings.false_alarms,
        "tolerance": settings.tolerance,
        "share": settings.share,
        "training_tolerance": settings.training_tolerance,
    }


def _stats(version: _Version) -> DriftSnapshot:
    watches = version.watches
    return DriftSnapshot(
        moved={side: w.raised is not None for side, w in watches.items()},
        evidence={side: _evidence(w) for side, w in watches.items()},
        rows={side: w.rows for side, w in watches.items()},
        alarms={side: version.alarms.get(side, 0) for side in watches},
        left_out=version.skipped + sum(w.left_out for w in watches.values()),
    )


def _evidence(watch: Watch) -> float:
    """Of the strongest signal, as a part of an alarm: 1 raises one."""
    nats = watch.nats()
    return max(0.0, float(nats.max()) / watch.alarm_at) if len(nats) else 0.0
