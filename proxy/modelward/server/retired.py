"""Models that no new request meets any more, until the last request that has one is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from modelward.server.generation import Generation, close_engines, in_use
from modelward_native.backend.batch import Scheduler
from modelward_native.request.served import Served

log = logging.getLogger("modelward.server")

POLL_SECONDS = 0.1


class Retired:
    """Their engines are closed when no request and no model that is served refers to them."""

    def __init__(self) -> None:
        self._served: list[Served] = []

    def __len__(self) -> int:
        return len(self._served)

    def add(self, served: Iterable[Served]) -> None:
        self._served += served

    async def run(self, current: Callable[[], Generation], scheduler: Scheduler) -> None:
        """For ever. current: what is served."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self._served:
                await self._release(current(), scheduler)

    async def _release(self, current: Generation, scheduler: Scheduler) -> None:
        used = in_use(current, self._served)
        engines = {served.engine for served in used}
        left = {s.engine for s in self._served} - engines
        waiting = {engine for engine in left if not engine.idle}  # for the end of its tick
        self._served = [s for s in self._served if s in used or s.engine in waiting]
        for engine in left - waiting:
            scheduler.forget(engine)
            if engine.digest:
                log.info(
                    "model %s %s %s unloaded", engine.name, "shadow" if engine.background else "version", engine.version
                )
        await close_engines(left - waiting)
