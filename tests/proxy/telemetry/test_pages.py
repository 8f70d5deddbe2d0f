"""Pages of metrics: fresh while they cost little, shared when they cost much, never older than they may be."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Awaitable, Callable

import pytest

from modelward.telemetry.exposition import Exposition
from modelward.telemetry.pages import AGE_SECONDS, Pages
from modelward.telemetry.snapshot import Snapshot


class Played:
    """Pages on a clock that stands still, of figures that count the snapshots."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
        self.now = 1000.0
        self.spent = 0.0
        self.snapshots = 0
        self._cost = cost
        monkeypatch.setattr("time.thread_time", lambda: self.spent)
        self.pages = Pages(Exposition(self._take), lambda: self.now)

    def _take(self) -> Snapshot:
        self.snapshots += 1
        self.spent += self._cost
        return Snapshot(inflight=self.snapshots)

    async def inflight(self) -> int:
        """How many snapshots there had been when the page was made."""
        page = await self.pages.get(is_openmetrics=False, compressed=False)
        (line,) = [line for line in page.decode().splitlines() if line.startswith("modelward_inflight ")]
        return int(line.split()[1])


def play(monkeypatch: pytest.MonkeyPatch, cost: float, test: Callable[[Played], Awaitable[None]]) -> Played:
    played = Played(monkeypatch, cost)

    async def main() -> None:
        async with asyncio.timeout(20):
            await test(played)

    asyncio.run(main())
    return played


def test_a_cheap_page_is_fresh_for_every_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(played: Played) -> None:
        assert [await played.inflight() for _ in range(100)] == [*range(1, 101)]

    play(monkeypatch, 0.002, test)


@pytest.mark.parametrize("cost", [0.002, 0.2])
def test_scrapes_take_a_tenth_of_a_core_for_long(monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    async def test(played: Played) -> None:
        for _ in range(10_000):
            played.now += 0.01
            await played.inflight()

    assert play(monkeypatch, cost, test).spent <= 0.1 * 100 + 0.5 + 2 * cost


def test_a_page_is_never_older_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(played: Played) -> None:
        for _ in range(1000):
            await played.inflight()
        before = await played.inflight()
        played.now += AGE_SECONDS
        assert await played.inflight() == before + 1

    play(monkeypatch, 0.002, test)


def test_many_that_ask_at_once_for_an_expensive_page_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(played: Played) -> None:
        await played.inflight()  # tells what it costs
        assert set(await asyncio.gather(*(played.inflight() for _ in range(50)))) == {2}
        figures = played.pages.stats()
        assert (figures.made, figures.reused) == (2, 49)
        assert figures.seconds == pytest.approx(0.4)

    play(monkeypatch, 0.2, test)


def test_the_loop_goes_round_while_an_expensive_page_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gone_round = threading.Event(), threading.Event()

    def slow(self: Exposition, snapshot: Snapshot, *, is_openmetrics: bool) -> bytes:
        begun.set()
        assert gone_round.wait(30), "it is the loop that writes"
        return b"page"

    async def test(played: Played) -> None:
        await played.inflight()
        monkeypatch.setattr(Exposition, "write", slow)
        making = asyncio.ensure_future(played.pages.get(is_openmetrics=False, compressed=False))
        while not begun.is_set():
            await asyncio.sleep(0)
        gone_round.set()
        assert await making == b"page"

    play(monkeypatch, 0.2, test)


def test_a_compressed_page_holds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(played: Played) -> None:
        page = await played.pages.get(is_openmetrics=True, compressed=True)
        assert b"modelward_inflight 1\n" in gzip.decompress(page)
        assert b"modelward_scrape_seconds_total" in gzip.decompress(page)

    play(monkeypatch, 0.002, test)
