"""How much of this server is in use, from what is counted anyway and from the kernel's times of the workers' loops."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from modelward.config.workers import cores
from modelward.supervisor.workers import Workers
from modelward.telemetry.refusals import CHECKED, UNWANTED
from modelward.telemetry.snapshot import Snapshot
from modelward.telemetry.utilization import CHECK, CONNECTION, HANDSHAKE, REFUSAL, Key, Utilization, VersionWork, Work
from modelward_native.telemetry import stats

LOOK_SECONDS = 1.0
IDLE_SHARE = 500  # a pause lasts this many times as long as the look before it took of a core: 0.2 % of one
LATEST_SECONDS = 5.0  # but no longer: what is scaled by the figure is overloaded when looks are slow
NS = 1e9
# closed for no fault of their client
ORDINARY = frozenset({"idle", "room"})
REMOVED = "(removed)"  # in place of a version, as modelward_native.telemetry.stats names it

Totals = Mapping[str, Any]


class LoopTimes(Struct, frozen=True):
    """Seconds that loops have run on a core, and have waited for one."""

    ran: float
    waited: float


class UtilizationWatch:
    """Use `run` while workers do."""

    def __init__(self, workers: Workers, loop_times: Callable[[int], LoopTimes | None] | None = None) -> None:
        """loop_times: of a process's main thread, since it began; None where they cannot be read."""
        self._workers = workers
        self._utilization = Utilization()
        self._loop_times = loop_times or loop_times_of
        self._seen: dict[int, LoopTimes] = {}  # of each worker that is or was ready, as of the last look
        self._loops = LoopTimes(0.0, 0.0)

    def stats(self) -> Snapshot:
        """As Utilization has it."""
        return Snapshot(utilization=self._utilization.parts, loop_busy=self._utilization.busy)

    async def run(self) -> None:
        while True:
            began = time.thread_time()
            self.look(time.monotonic())
            await asyncio.sleep(pause(time.thread_time() - began))

    def look(self, now: float) -> None:
        """now: monotonic seconds."""
        if ready := self._workers.ready:
            self._count_loops()
            region = self._workers.region
            found, traffic = stats.models(region), stats.traffic(region)
            counted = self._workers.stats()
            self._utilization.take(work(found, traffic, counted, now=now, ready=ready, loop=self._loops))

    def _count_loops(self) -> None:
        """What a worker has spent before it was ready is no load."""
        seen = {}
        for worker in self._workers:
            if worker.report is not None and (now := self._loop_times(worker.pid)) is not None:
                before = self._seen.get(worker.pid, now)
                self._loops = LoopTimes(
                    self._loops.ran + now.ran - before.ran, self._loops.waited + now.waited - before.waited
                )
                seen[worker.pid] = now
        self._seen = seen


def pause(cost: float) -> float:
    """Until the next look. cost: of the last one, in seconds of CPU, not of the clock: a process that gets no core for
    a while has not looked for so long."""
    return min(max(LOOK_SECONDS, IDLE_SHARE * cost), LATEST_SECONDS)


def work(
    found: Mapping[Key, Totals],
    traffic: Mapping[str, int],
    counted: Snapshot,
    *,
    now: float,
    ready: int,
    loop: LoopTimes,
) -> Work:
    """found, traffic: as modelward_native.telemetry.stats.models and traffic give them. counted: what workers count
    themselves."""
    closed, tls = counted.close_reasons, counted.tls
    turned_away = sum(closed.refused.values())
    connections = sum(count for why, count in closed.closed.items() if why not in ORDINARY)
    connections += tls.unfinished if tls is not None else 0
    refused = Counter[bool]()  # by whether a credential was checked
    for total in found.values():
        for kind in ("refusals", "fallbacks"):
            for reason, count in total[kind].items():
                if reason in UNWANTED:
                    refused[reason in CHECKED] += count
    each = HANDSHAKE if tls is not None else CONNECTION
    return Work(
        at=now,
        workers=ready,
        cores=cores(),
        loop=loop.ran + loop.waited,
        cpu=loop.ran,
        answered=sum(map(_answered, found.values())),
        unwanted=refused.total() + connections + turned_away,
        unproven=traffic["opened"] - traffic["settled"],
        overhead=REFUSAL * refused[False] + CHECK * refused[True] + each * connections + CONNECTION * turned_away,
        unproven_overhead=each,
        bare=tls.failed_handshakes if tls is not None else 0,
        unanswered=traffic["received"] + traffic["inflated"] - traffic["useful"],
        versions={key: _version(total) for key, total in found.items() if _is_served(key, total)},
    )


def _is_served(key: Key, total: Totals) -> bool:
    """And not a sum over versions that were removed, which takes another's totals in at once."""
    return key[1] != REMOVED and bool(total["runs"] or total["concurrency"])


def _version(total: Totals) -> VersionWork:
    """Only what runs here has a histogram of its runs, whose time all of their requests share; elsewhere each request
    is a run."""
    here = total["stages"]["compute"] is not None
    runs = total["compute_ns"] / NS
    held = (total["queue_ns"] / NS + runs * total["queued"] / max(total["runs"], 1)) if here else runs
    return VersionWork(
        answered=_answered(total),
        rows=total["rows"],
        runs=runs if here else None,
        on_loop=total["loop_ns"] / NS,
        held=held,
        permits=total["concurrency"],
        waiting=total["waiting"],
    )


def _answered(total: Totals) -> int:
    histogram = total["request"]["ok"]
    return int(histogram[1][-1]) if histogram is not None else 0


def loop_times_of(pid: int) -> LoopTimes | None:
    """Of the main thread of a process, which runs its loop."""
    with suppress(OSError, ValueError):  # it has ended; a kernel without these figures
        ran, waited, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
        return LoopTimes(int(ran) / NS, int(waited) / NS)
    return None
