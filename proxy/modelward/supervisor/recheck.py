"""Files of what is served, compared with the disk at an interval: a change that no reload has followed is told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from modelward.audit.record import automatic
from modelward.audit.recorder import Recorder
from modelward.child import Bounds, ChildEnded, in_child_meanwhile
from modelward.config.address import OFF
from modelward.config.model import ModelSettings
from modelward.config.schema import Config
from modelward.config.units import SECOND
from modelward.models.facts import FactsByVersion, Loaded
from modelward.problem import ProblemsFound
from modelward.telemetry.snapshot import IntegritySnapshot

log = logging.getLogger("modelward.integrity")

LOOK_SECONDS = 1.0  # between two looks at whether it is time; the interval may change at a reload
TOGETHER = 16  # versions that one child reads
BUSY_SHARE = 5  # a child rests the others four fifths of the time
BOUNDS = Bounds(600, 8 << 30)
LONGEST_REASON = 500

Version = tuple[str, str]  # model, version


def integrity_stats(facts: Mapping[str, FactsByVersion], recheck: Recheck) -> IntegritySnapshot:
    versions = {(model, version): each for model, known in facts.items() for version, each in known.items()}
    return IntegritySnapshot(
        {key: (each.digest, each.signer) for key, each in versions.items()},
        sum(bool(each.doubt) for each in versions.values()),
        len(recheck.changed),
        dict(recheck.results),
    )


def _needed(config: Config) -> Config:
    """What a comparison goes by; no secret is among it."""
    models = {
        name: ModelSettings.model_construct(integrity=each.integrity, anomaly=each.anomaly)
        for name, each in config.models.items()
        if not each.upstreams
    }
    return Config(repository=config.repository, integrity=config.integrity, models=models)


def compare(config: Config, loaded: Sequence[Loaded]) -> list[str]:
    """In the child."""
    from modelward.models import recheck  # noqa: PLC0415 - brings onnx, which a supervisor does without

    return recheck.compare(config, loaded)


class Note(Protocol):
    """As Promoter.note."""

    def __call__(self, what: str, actor: str, why: str = "", *, kept: bool = True) -> None: ...


class Recheck:
    """Run `watch`. facts: of what workers have open. changed: why the files of a version that is served are others now.
    results: of all comparisons: same, changed or failed."""

    def __init__(
        self,
        config: Callable[[], Config],
        facts: Callable[[], Mapping[str, FactsByVersion]],
        recorder: Callable[[], Recorder],
        note: Note,
    ) -> None:
        self.changed: dict[Version, str] = {}
        self.results: Counter[str] = Counter()
        self._config = config
        self._facts = facts
        self._recorder = recorder
        self._note = note

    async def watch(self) -> None:
        """For ever."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            settings = self._config().integrity
            if settings is None:
                last, self.changed = time.monotonic(), {}
            elif time.monotonic() - last >= settings.interval / SECOND:
                await self.look()
                last = time.monotonic()

    async def look(self) -> None:
        """Compares every version that is served."""
        loaded = self._loaded()
        for start in range(0, len(loaded), TOGETHER):
            began = time.monotonic()
            await self._compare(loaded[start : start + TOGETHER])
            if start + TOGETHER < len(loaded):
                await asyncio.sleep((BUSY_SHARE - 1) * (time.monotonic() - began))
        served = {(each.model, each.version) for each in loaded}
        self.changed = {version: why for version, why in self.changed.items() if version in served}

    def _loaded(self) -> list[Loaded]:
        config = self._config()
        return [
            Loaded(model, version, facts.digest, bool(facts.signer))
            for model, versions in self._facts().items()
            if config.trust(model).require != OFF
            for version, facts in versions.items()
            if facts.signer or not facts.key  # what sealed files are made of, only their key tells
        ]

    async def _compare(self, loaded: Sequence[Loaded]) -> None:
        try:
            reasons = await in_child_meanwhile(BOUNDS, compare, _needed(self._config()), loaded)
        except (ChildEnded, ProblemsFound, MemoryError, OSError) as error:
            self.results["failed"] += len(loaded)
            log.error("files of %d versions were not compared with what is served: %s", len(loaded), error)
            return
        now = self._facts()
        for each, why in zip(loaded, reasons, strict=True):
            facts = now.get(each.model, {}).get(each.version)
            if facts is not None and facts.digest == each.digest:  # else it was reloaded meanwhile
                self._tell(each, why[:LONGEST_REASON])

    def _tell(self, loaded: Loaded, why: str) -> None:
        self.results["changed" if why else "same"] += 1
        key = loaded.model, loaded.version
        before = self.changed.get(key, "")
        if why == before:
            return
        which = f"model {loaded.model} version {loaded.version}"
        if why:
            self.changed[key] = why
            log.error("files of %s are others than those that are served: %s; what was loaded goes on", which, why)
            self._note("files changed", "modelward", f"{which}: {why}"[:LONGEST_REASON], kept=False)
        else:
            del self.changed[key]
            log.info("files of %s are those that are served again", which)
        verb = "version.files_changed" if why else "version.files_restored"
        self._recorder().note(
            automatic(verb, model=loaded.model, version=loaded.version, digest=loaded.digest, reason=why)
        )
