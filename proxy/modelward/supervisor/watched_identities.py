"""Identities that models watch: what operators are told of them and decide about them, and the steps that they take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from modelward.admin.operator import NotNow
from modelward.audit.recorder import Recorder
from modelward.config.schema import Config
from modelward.detect.progress import Progress
from modelward.detect.restriction import Known
from modelward.detect.suspects import Suspects, suspect
from modelward.supervisor.learning_progress import LearningProgress, progress_of
from modelward.supervisor.restrictions import Restrictions
from modelward.supervisor.step_events import MOST_NAMES, StepEvents
from modelward.supervisor.worker_pool import WorkerPool
from modelward.tasks import Tasks
from modelward.telemetry.snapshot import DetectionSnapshot
from modelward_native.detect.suspicion import STEPS
from modelward_native.region.region import Region
from modelward_native.telemetry.stats import withheld

LOOK_SECONDS = 2.0


class WatchedIdentities:
    """Names are known of those that operators hold, and of those that have taken a step since the server began."""

    def __init__(
        self,
        pool: Callable[[], WorkerPool],
        config: Callable[[], Config],
        trail: Callable[[], Recorder],
        note: Callable[[str, str, str], None],
    ) -> None:
        """As Restrictions."""
        self.restrictions = Restrictions(pool, config, trail, note, self._names)
        self._config = config
        self._trail = trail
        self._events: StepEvents | None = None
        self._region: Region | None = None

    def observe(self, tasks: Tasks, region: Region) -> None:
        """Steps and learning are told from now on. tasks: that it is one of."""
        self._region = region
        self._events = StepEvents(region, self.restrictions.suspicion, self._config, self._trail)
        tasks.spawn(self._events.watch())
        tasks.spawn(self._follow(region))

    async def _follow(self, region: Region) -> None:
        told = LearningProgress()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if learning := self.learning():
                told.look(learning, withheld(region), time.monotonic())

    def learning(self) -> Sequence[Progress]:
        """How far each model that watches identities has learnt what they usually send; none before it serves."""
        try:
            watched = self.restrictions.watched()
        except NotNow:  # it starts or ends
            return ()
        if self._region is None or not watched:
            return ()
        return progress_of(self._region, watched, time.monotonic_ns())

    def end(self) -> None:
        """Tells what is left, once workers have ended."""
        if self._events is not None:
            self._events.end()

    def suspects(self, least: str, most: int, model: str = "") -> Suspects:
        """Identities whose step is at least this. model: of this one alone; empty for all. Those that operators hold
        and that have not asked are told as restrictions alone. Raises NotNow. Up to 20 ms for a million identities."""
        watched, restrictions = self.restrictions.watched(), (*self.restrictions.restrictions.values(),)
        suspicion = self.restrictions.suspicion()
        if suspicion is None:
            return Suspects()
        now, known = time.monotonic_ns(), self._known()
        records, steps = suspicion.suspects(least, now, MOST_NAMES if model else most)
        told = {record["key"] for record in records}
        # what evidence says nothing of, and a spent budget does
        spent = (
            suspicion.read(key, now) for key, whose in known.items() if key not in told and self._has_budget(whose)
        )
        asked = [
            (record, known.get(record["key"]))
            for record in (*records, *filter(None, spent))
            if not record["pinned"] or record["distinct"]
        ]
        found = [
            suspect(record, whose, self._config().settings(whose.model).detection if whose is not None else None)
            for record, whose in asked
            if not model or (whose is not None and whose.model == model)
        ]
        found = [each for each in found if STEPS.index(each.step) >= STEPS.index(least)]
        learning = [each for each in self.learning() if model in ("", each.model)]
        return Suspects(found[:most], steps, watched, restrictions, suspicion.evicted, learning)

    def _has_budget(self, whose: Known) -> bool:
        settings = self._config().settings(whose.model).detection
        return settings.budget is not None or any(own.budget is not None for own in settings.identities.values())

    def stats(self) -> DetectionSnapshot | None:
        if self._events is None or not self.restrictions.is_open:
            return None
        learning = {
            each.model: (each.phase, each.rows, each.needed, each.locked, each.failing)
            for each in self.learning()
            if each.phase
        }
        return replace(self._events.stats(), restrictions=len(self.restrictions.restrictions), learning=learning)

    def _known(self) -> Mapping[int, Known]:
        """By the key of the record."""
        return {**self._names(), **self.restrictions.known()}

    def _names(self) -> Mapping[int, Known]:
        return self._events.names if self._events is not None else {}
