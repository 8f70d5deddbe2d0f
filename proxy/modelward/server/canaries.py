"""Canaries run again while their versions are served: each worker judges what it has in memory, beside its requests."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from modelward.config.units import SECOND
from modelward.models.canary import MEND, Canary, difference, without_values
from modelward.models.opening import OpenVersion
from modelward.problem import Problem
from modelward_native.backend.engine import Engine
from modelward_native.backend.side_run import SideRun

log = logging.getLogger("modelward.canary")

# how long a version that has failed waits at most for its next chance
RETRY_SECONDS = 10.0
# after a reload that has read another canary
SOON_SECONDS = 1.0


class Watch(Struct, frozen=True, eq=False):
    """One version's. seconds: between two runs."""

    canary: Canary
    seconds: float
    task: asyncio.Task[None]


class Canaries:
    """Of one process, on its loop. One canary at a time, in a thread of their own.

    changed: called when a version has gone out of service or come back (Engine.failing). deadly: those that a worker
    died of, by name, version and load digest, are not run, and fail.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._watches: dict[Engine, Watch] = {}
        self._known: set[Engine] = set()  # of the last models
        self._why: dict[Engine, str] = {}
        self._thread = ThreadPoolExecutor(1, "canary")
        self.deadly: frozenset[tuple[str, str, str]] = frozenset()

    def follow(self, models: Sequence[OpenVersion]) -> None:
        """From now on those of these models. A version that stays and whose canary was read again is run on it soon."""
        before, self._watches = self._watches, {}
        known, self._known = self._known, {model.engine for model in models}
        for model in models:
            engine, canary, interval = model.engine, model.checked.canary, model.checked.settings.canary.interval
            if canary is None or interval is None:
                self._forgive(engine)
                continue
            watch, seconds = before.get(engine), interval / SECOND
            if watch is None or watch.canary is not canary or watch.seconds != seconds:
                identity = engine.name, engine.version, model.checked.load_digest
                watch = self._begin(engine, canary, seconds, identity, is_new=engine not in known)
            self._watches[engine] = watch
        for watch in set(before.values()) - set(self._watches.values()):
            watch.task.cancel()
        self._why = {engine: why for engine, why in self._why.items() if engine in self._watches}

    def _begin(
        self, engine: Engine, canary: Canary, seconds: float, identity: tuple[str, str, str], *, is_new: bool
    ) -> Watch:
        if is_new:
            engine.count_canary(True)  # when it was loaded
        first = seconds if is_new else min(SOON_SECONDS, seconds)
        task = asyncio.get_running_loop().create_task(self._watch(engine, canary, seconds, first, identity))
        return Watch(canary, seconds, task)

    def _forgive(self, engine: Engine) -> None:
        """There is no canary any more that it would fail."""
        if engine.failing:
            engine.failing = False
            asyncio.get_running_loop().call_soon(self._changed)

    @property
    def causes(self) -> dict[tuple[str, str], str]:
        """Why versions fail, by name and version."""
        return {(engine.name, engine.version): why for engine, why in self._why.items()}

    def stop(self) -> None:
        """Ends what is under way, too."""
        for watch in self._watches.values():
            watch.task.cancel()
        self._watches = {}
        self._thread.shutdown(wait=False)

    async def _watch(
        self, engine: Engine, canary: Canary, seconds: float, pause: float, identity: tuple[str, str, str]
    ) -> None:
        while True:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            try:
                self._judge(engine, canary, await self._run(engine, canary, identity))
            except Exception:
                log.exception("model %s version %s: the canary could not be run", engine.name, engine.version)
            pause = min(seconds, RETRY_SECONDS) if engine.failing else seconds

    async def _run(self, engine: Engine, canary: Canary, identity: tuple[str, str, str]) -> str | None:
        """What is wrong with the answer. Cancelled, it ends the run in the thread; until then the engine stays open."""
        if identity in self.deadly:
            return "a worker died when it ran the canary"
        side = SideRun(engine, identity[2])
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, difference, canary, engine, side.run_once)
        finally:
            side.stop()

    def _judge(self, engine: Engine, canary: Canary, why: str | None) -> None:
        engine.count_canary(why is None)
        if engine.failing == (why is not None):
            return
        engine.failing = why is not None
        if why is not None:
            what = f"model {engine.name} version {engine.version} fails its canary and is out of service"
            self._why[engine] = without_values(why)
            how = f"Replace the workers (modelward restart), or roll back. {MEND}"
            log.error("%s", Problem(what, str(canary.file), why, how))
        else:
            self._why.pop(engine, None)
            log.warning("model %s version %s passes its canary again and is back", engine.name, engine.version)
        self._changed()
