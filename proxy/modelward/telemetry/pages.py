"""Pages of metrics as scrapers get them: made for each scrape while that is cheap, shared by many when it is not."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from modelward.telemetry.exposition import Exposition
from modelward.telemetry.snapshot import ScrapeSnapshot, Snapshot

# of one core, what making pages may take for long; and what it may take at once before it counts
SHARE = 0.1
BURST_SECONDS = 0.5
# a page that is not made again has at most this age, or ten times what making it takes
AGE_SECONDS = 1.0
# what takes longer is done in a thread, so that probes are answered meanwhile
INLINE_SECONDS = 0.01
INLINE_BYTES = 256 * 1024
LEVEL = 1  # of gzip: 1.8 MB become 89 KB within 6 ms


class Page(Struct):
    body: bytes
    made: float  # on `now`'s clock, as the stats in it are
    cost: float  # seconds
    compressed: bytes | None = None


class Pages:
    """One page of each format. At most one is being made at a time, however many ask for it."""

    def __init__(self, exposition: Exposition, now: Callable[[], float] = time.monotonic) -> None:
        self._exposition = exposition
        self._now = now
        self._pages: dict[bool, Page] = {}
        self._making: dict[bool, asyncio.Task[Page]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._owed = now()  # until when the time that pages took is paid off, at SHARE
        self._made = self._reused = 0
        self._seconds = 0.0

    async def get(self, *, is_openmetrics: bool, compressed: bool) -> bytes:
        page = self._pages.get(is_openmetrics)
        if page is not None and self._suffices(page):
            self._reused += 1
        elif page is None or page.cost <= INLINE_SECONDS:
            page = self._finish(is_openmetrics, self._make(is_openmetrics, self._take()))
        else:
            page = await self._shared(is_openmetrics)
        return await self._compressed(page) if compressed else page.body

    def stats(self) -> ScrapeSnapshot:
        largest = max((len(page.body) for page in self._pages.values()), default=0)
        return ScrapeSnapshot(self._made, self._reused, self._seconds, largest)

    def _suffices(self, page: Page) -> bool:
        now = self._now()
        return self._owed - now > BURST_SECONDS / SHARE and now - page.made < max(AGE_SECONDS, page.cost / SHARE)

    async def _shared(self, is_openmetrics: bool) -> Page:
        making = self._making.get(is_openmetrics)
        if making is None:
            making = asyncio.get_running_loop().create_task(self._make_in_thread(is_openmetrics))
            self._making[is_openmetrics] = making
            making.add_done_callback(lambda _: self._making.pop(is_openmetrics))
        else:
            self._reused += 1
        return await asyncio.shield(making)

    async def _make_in_thread(self, is_openmetrics: bool) -> Page:
        async with self._one_at_a_time:
            loop, snapshot = asyncio.get_running_loop(), self._take()
            return self._finish(is_openmetrics, await loop.run_in_executor(None, self._make, is_openmetrics, snapshot))

    def _take(self) -> tuple[float, float, Snapshot]:
        """On the loop, which owns the counters. When it began, how long it took, and the stats."""
        made, began = self._now(), time.thread_time()
        snapshot = replace(self._exposition.take(), scrapes=self.stats())
        return made, time.thread_time() - began, snapshot

    def _make(self, is_openmetrics: bool, taken: tuple[float, float, Snapshot]) -> Page:
        made, cost, snapshot = taken
        began = time.thread_time()
        body = self._exposition.write(snapshot, is_openmetrics=is_openmetrics)
        return Page(body, made, cost + time.thread_time() - began)

    def _finish(self, is_openmetrics: bool, page: Page) -> Page:
        self._pages[is_openmetrics] = page
        self._owed = max(self._owed, self._now()) + page.cost / SHARE
        self._made += 1
        self._seconds += page.cost
        return page

    async def _compressed(self, page: Page) -> bytes:
        if page.compressed is None:
            if len(page.body) <= INLINE_BYTES:
                page.compressed = gzip.compress(page.body, LEVEL)
            else:
                async with self._one_at_a_time:
                    if page.compressed is None:
                        loop = asyncio.get_running_loop()
                        page.compressed = await loop.run_in_executor(None, gzip.compress, page.body, LEVEL)
        return page.compressed
