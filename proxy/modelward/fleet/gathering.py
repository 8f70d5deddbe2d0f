"""What the others have counted, gathered beside the rounds of a member: a fleet of hundreds takes a second of CPU, and
the lease is renewed meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from math import inf

from modelward.fleet import evidence
from modelward.fleet.gathered import Gathered, gathered
from modelward.fleet.store import Store, StoreError
from modelward.promotion.state import Promotion
from modelward.promotion.step import Sides
from modelward.shadow.pairs import Pairs

Counted = Mapping[str, tuple[Promotion, Sides]]


class Gathering:
    """others: as of the last time. One runs at a time, and pauses for as long as it took: half of a core at most."""

    def __init__(self, replica: str, store: Callable[[], Store], bad: Callable[[str], None]) -> None:
        """store: the one of now. bad: told of each server whose word could not be read, and why."""
        self.others = Gathered(-inf)
        self._replica = replica
        self._store = store
        self._bad = bad
        self._task: asyncio.Task[None] | None = None
        self._over = threading.Event()

    def begin(self, counted: Counted, pairs: Mapping[evidence.Key, Pairs]) -> None:
        """Unless it is under way. counted, pairs: of this server."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(counted, pairs))

    async def gather(self, counted: Counted, pairs: Mapping[evidence.Key, Pairs]) -> None:
        """It is over when this returns. Raises StoreError."""
        told = {replica: each for replica, each in (await self._store().evidence()).items() if replica != self._replica}
        promotions, at = {model: promotion for model, (promotion, _) in counted.items()}, time.monotonic()
        work = partial(gathered, told, promotions, pairs, at, self._over.is_set)
        found = await asyncio.get_running_loop().run_in_executor(None, work)
        if found.at >= self.others.at:
            self.others = found
        for each in found.bad:
            self._bad(each)

    async def settled(self) -> None:
        """Once none is under way, and its pause is over."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def stop(self) -> None:
        self._over.set()
        if self._task is not None:
            self._task.cancel()

    async def _run(self, counted: Counted, pairs: Mapping[evidence.Key, Pairs]) -> None:
        began = time.monotonic()
        with suppress(StoreError):  # the next round meets it too
            await self.gather(counted, pairs)
        await asyncio.sleep(time.monotonic() - began)
