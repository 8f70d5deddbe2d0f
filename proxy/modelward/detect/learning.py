"""What the callers of a model send becomes tables of what is usual: a thread's work, once a day."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelward_native.detect.watch import Watcher

log = logging.getLogger("modelward.detect")

SECONDS = 1.0
TOLD = {
    "measuring": "rows unlike the training data are evidence against their callers from now on",
    "learning": "near duplicates and walks along a boundary are evidence against callers from now on",
}
"""By the phase that has ended."""


async def learn(watchers: Callable[[], Sequence[Watcher]]) -> None:
    """watchers: of what is served at that moment. One process of a server does the work of all."""
    while True:
        await asyncio.sleep(SECONDS)
        for watcher in watchers():
            now = time.monotonic_ns()
            if not watcher.is_due(now):
                continue
            ended = watcher.phase
            try:
                await asyncio.to_thread(watcher.learn, now)
            except MemoryError:
                log.error("model %s: no memory to learn what its callers send; tried again in a minute", watcher.name)
                continue
            if ended in TOLD:
                log.info("model %s: %s", watcher.name, TOLD[ended])
