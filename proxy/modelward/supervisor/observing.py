"""The supervisor's half of what looks at requests: the reader of all rings, capture and drift."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelward.access.keys import named
from modelward.audit.recorder import Recorder
from modelward.config.drift import Drift, in_words
from modelward.config.schema import Config
from modelward.config.state_folder import state_folder
from modelward.drift.cause import Cause
from modelward.limits.callers import observed
from modelward.problem import Problem, ProblemsFound
from modelward.server.report import Report
from modelward.supervisor.drift_events import tell
from modelward.telemetry.snapshot import CaptureSnapshot, DriftSnapshot, ObservationSnapshot
from modelward_native.region.region import Region

if TYPE_CHECKING:
    from modelward.capture.writer import CaptureWriter
    from modelward.drift.monitor import DriftMonitor
    from modelward.observe.observations import Consumer, Observations
    from modelward.supervisor.drift_keeping import DriftKeeping

log = logging.getLogger("modelward.observe")

FOLDER = "capture"  # within the state folder
LOOK_SECONDS = 1.0


class Observing:
    """Begins once a model is captured or watched, also by a reload, and then lasts. Use `watch` while workers run, and
    `stop` when they have ended."""

    def __init__(self, config: Callable[[], Config], recorder: Callable[[], Recorder]) -> None:
        self._config = config
        self._recorder = recorder
        self._drift: DriftMonitor | None = None
        self._kept: DriftKeeping | None = None
        self._observations: Observations | None = None
        self._capture: CaptureWriter | None = None
        self._folders: dict[str, Path] = {}  # of the models that are captured

    async def watch(self, region: Region) -> None:
        while True:
            self.follow(region)
            if self._drift is not None:
                self._drift.keep(self._config().watched)
                tell(self._drift.events(), self._recorder())
            if self._kept is not None and self._kept.due:
                await asyncio.get_running_loop().run_in_executor(None, self._kept.write)
            await asyncio.sleep(LOOK_SECONDS)

    def follow(self, region: Region) -> None:
        config = self._config()
        if self._capture is None and config.captured:
            # they bring numpy and pyarrow: only where something is captured
            from modelward.capture.writer import CaptureWriter  # noqa: PLC0415

            self._capture = CaptureWriter(lambda: self._config().captured, self._root, region.sticky_key)
            self._capture.start()
            self._subscribe(region, "capture", self._capture.take)
            log.info("requests of %s are captured", ", ".join(config.captured))
        self._tell_ended(config)
        if self._drift is None and config.watched:
            from modelward.drift.monitor import DriftMonitor  # noqa: PLC0415 - brings numpy
            from modelward.supervisor.drift_keeping import DriftKeeping  # noqa: PLC0415

            self._drift = DriftMonitor(self._drift_of)
            self._kept = DriftKeeping(self._drift, state_folder(config.state))
            self._kept.resume()
            self._subscribe(region, "drift", self._drift.take)
            log.info("drift of %s is watched", ", ".join(config.watched))

    def _tell_ended(self, config: Config) -> None:
        now = {name: (settings.folder or self._root).absolute() for name, settings in config.captured.items()}
        for name, folder in self._folders.items():
            if name not in now:
                what = "requests of model %s are not captured any more; retention ends too: its files stay in %s"
                log.warning(what, name, folder, extra={"fields": {"model": name}})
        self._folders = now

    def _subscribe(self, region: Region, name: str, consumer: Consumer) -> None:
        from modelward.observe.observations import Observations  # noqa: PLC0415 - brings numpy

        begins = self._observations is None
        self._observations = self._observations or Observations(region)
        self._observations.subscribe(name, consumer)
        if begins:
            self._observations.start()

    async def stop(self) -> None:
        """What is still in the rings is written, and what was learnt."""
        loop = asyncio.get_running_loop()
        if self._observations is not None:
            await loop.run_in_executor(None, self._observations.stop)
        if self._capture is not None:
            await loop.run_in_executor(None, self._capture.stop)
        if self._kept is not None:
            await loop.run_in_executor(None, self._kept.write)

    def stats(self) -> tuple[ObservationSnapshot | None, CaptureSnapshot | None]:
        seen = self._observations.stats() if self._observations is not None else None
        return seen, self._capture.stats() if self._capture is not None else None

    def folder(self, model: str) -> Path | None:
        """Absolute: who asks may be in another folder."""
        settings = self._config().captured.get(model)
        return (settings.folder or self._root).absolute() if settings is not None else None

    @property
    def _root(self) -> Path:
        return state_folder(self._config().state) / FOLDER

    def _drift_of(self, model: str) -> Drift | None:
        return self._config().watched.get(model)

    def drift_stats(self) -> Mapping[tuple[str, str], DriftSnapshot]:
        return self._drift.stats() if self._drift is not None else {}

    def drift_cause(self, model: str, version: str) -> Cause:
        return self._drift.cause(model, version) if self._drift is not None else Cause.NONE

    async def drift(self, model: str) -> Sequence[Mapping[str, Any]]:
        """What modelward.drift.report tells of each version of the model, or of all. Raises ProblemsFound."""
        if model:
            self._check_watched(model)
        if self._drift is None:
            return ()
        return await asyncio.get_running_loop().run_in_executor(None, self._drift.report, model)

    def told(self, report: Report) -> Report:
        """With what is captured and watched."""
        for label, words in (("capture", self.words), ("drift", self.drift_words)):
            report = report.with_guard(label, words) if words else report
        return report

    def whose(self, region: Region, texts: Sequence[str]) -> Mapping[str, str]:
        """As Operator.observed: of callers that tables know, and of all that have API keys."""
        access = self._config().access
        return observed(region, texts, named(access.keys if access is not None else None))

    def drift_alarms(self, model: str, version: str) -> Sequence[tuple[str, str, str, float]]:
        """As DriftMonitor.alarms. version: empty for all. Raises ProblemsFound where the model is not watched."""
        self._check_watched(model)
        return self._drift.alarms(model, version or None) if self._drift is not None else ()

    def accept_drift(self, model: str, version: str) -> Sequence[tuple[str, str]]:
        """As DriftMonitor.accept, and written. For a thread."""
        if self._drift is None or self._kept is None:
            return ()
        accepted = self._drift.accept(model, version or None)
        self._kept.write()
        return accepted

    def _check_watched(self, model: str) -> None:
        if model not in self._config().watched:
            how = f"Set models.{model}.drift: {{}} and reload"
            raise ProblemsFound([Problem("drift is not watched", f"model {model}", how=how)])

    @property
    def drift_words(self) -> str:
        """For READY and status; empty where nothing is watched."""
        return ", ".join(
            f"{name} {settings.share:.4g}, false alarms {in_words(settings.false_alarms)}"
            for name, settings in self._config().watched.items()
        )

    @property
    def words(self) -> str:
        """For READY and status; empty where nothing is captured."""
        return ", ".join(
            f"{name} {settings.share:.4g} to {settings.folder or self._root}"
            for name, settings in self._config().captured.items()
        )
