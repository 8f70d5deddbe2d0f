"""The processes of a worker pool at this moment: those that start, those that serve and those that drain."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from modelward.admin.operator import WorkerStatus
from modelward.models.facts import FactsByVersion
from modelward.no_process import NoProcess
from modelward.server.canary_causes import CanaryCauses
from modelward.server.report import Report
from modelward.supervisor.prefork import Preforked
from modelward.supervisor.worker_process import WorkerProcess
from modelward.telemetry.merge import added, counters
from modelward.telemetry.snapshot import Snapshot
from modelward_native.region.region import Region
from modelward_native.shadow import evidence, shadows
from modelward_native.telemetry import stats

log = logging.getLogger("modelward.supervisor")

# A worker without a sign of life for so long is killed; one that is starting parses models, which may hold its loop up.
HUNG_SECONDS = 5.0
HUNG_STARTING_SECONDS = 60.0
WATCH_SECONDS = 0.5
# what a worker that has ended had opened is known for so long, of so many
ENDED_SECONDS = 10.0
MOST_ENDED = 256


class Workers:
    """Each has a part of the region to itself. changed: called whenever a worker begins or ceases to be ready."""

    def __init__(self, region: Region, grpc: int, changed: Callable[[], None]) -> None:
        """grpc: the bound socket's descriptor."""
        self.region = region
        self._grpc = grpc
        self.preforked: list[Preforked] = []  # what becomes the first ones
        self._changed = changed
        self._workers: set[WorkerProcess] = set()
        self._taken: set[int] = set()  # numbers that have a process, or are about to
        self._facts: Mapping[str, FactsByVersion] = {}  # of what the last worker that ended has served
        self._ended: deque[tuple[float, int, Mapping[tuple[str, str], tuple[str, str]]]] = deque(maxlen=MOST_ENDED)
        self._gone = Snapshot()  # what workers have counted that are no more
        self._moved = asyncio.Event()

    def __iter__(self) -> Iterator[WorkerProcess]:
        return iter([*self._workers])

    def __len__(self) -> int:
        return len(self._workers)

    def __contains__(self, worker: WorkerProcess) -> bool:
        return worker in self._workers

    @property
    def ready(self) -> int:
        """How many take requests."""
        return sum(worker.ready for worker in self._workers)

    @property
    def unanswered(self) -> str:
        """Why none of those that take requests can answer for a model; empty while one can."""
        reasons = [worker.unanswered for worker in self._workers if worker.ready]
        return reasons[0] if reasons and all(reasons) else ""

    @property
    def report(self) -> Report | None:
        """Of what is served, as the newest of those that take requests has it; None where no worker is or was ready."""
        able = [worker for worker in self._workers if worker.report is not None]
        return max(able, key=lambda worker: (worker.ready, worker.started)).report if able else None

    @property
    def facts(self) -> Mapping[str, FactsByVersion]:
        """Of what is served, or was served last."""
        return self.report.facts if self.report is not None else self._facts

    @property
    def slow(self) -> frozenset[str]:
        """Files of models that a worker has given up: the next one does not try them again."""
        reports = [worker.report for worker in self._workers if worker.report is not None]
        return frozenset(each.slow for report in reports for each in report.refused if each.slow)

    @property
    def unsealed(self) -> dict[tuple[str, str, int], tuple[str, str]]:
        """What workers have opened of sealed versions: digest and name of the key, by model, version and process. Also
        those that have ended a while ago: nobody may have looked in between."""
        since = time.monotonic() - ENDED_SECONDS
        processes = [*((each.pid, each.unsealed) for each in self._workers)]
        processes += [(pid, versions) for at, pid, versions in self._ended if at > since]
        return {(*version, pid): told for pid, versions in processes for version, told in versions.items()}

    @property
    def canary_causes(self) -> CanaryCauses:
        """As one of the workers tells it, of each that fails in any."""
        told = [worker.canary_causes for worker in self._workers]
        versions = {key: why for each in told for key, why in each.versions.items()}
        return CanaryCauses(versions, {address: why for each in told for address, why in each.upstreams.items()})

    def status(self) -> list[WorkerStatus]:
        """Of all, those that drain too, in the order of their numbers."""
        now = time.monotonic()
        return [
            WorkerStatus(worker.number, worker.pid, worker.state, now - worker.started, connections, inflight)
            for worker in sorted(self._workers, key=lambda worker: worker.number)
            for inflight, connections in (self.region.gauges_of(worker.number),)
        ]

    def stats(self) -> Snapshot:
        """What is counted elsewhere than in the region, by the workers that are and by those that were."""
        total = self._gone
        for worker in self._workers:
            total = added(total, worker.stats)
        return total

    async def start(self) -> WorkerProcess:
        """Waits while too many that drain have not ended yet. Raises NoProcess."""
        while len(self._taken) == self.region.slots:
            await self.move()
        number = min(number for number in range(self.region.slots) if number not in self._taken)
        self._taken.add(number)  # before anything is waited for: a part of the region has one writer
        self.region.open(number)
        try:
            worker = await WorkerProcess.start(number, (self.region.fd, self._grpc), self.preforked)
        except NoProcess:
            self._taken.discard(number)
            raise
        self._workers.add(worker)
        return worker

    def discard(self, worker: WorkerProcess) -> None:
        """It has ended."""
        self._workers.discard(worker)
        if worker.unsealed:
            self._ended.append((time.monotonic(), worker.pid, worker.unsealed))
        if worker.report is not None:
            self._facts = worker.report.facts

    def vacate(self, worker: WorkerProcess) -> None:
        """Its part of the region is free for another."""
        stats.vacate(self.region, worker.number)
        shadows.vacate(self.region, worker.number)
        evidence.vacate(self.region, worker.number)
        self._taken.discard(worker.number)
        self._gone = added(self._gone, counters(worker.stats))

    def note_move(self) -> None:
        """One has got ready, has answered, or has ended."""
        self._moved.set()
        self._changed()

    async def move(self) -> None:
        """Returns at the next `note_move`."""
        self._moved.clear()
        await self._moved.wait()

    async def watch(self) -> None:
        """Kills workers whose loop shows no sign of life."""
        looked = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            late, looked = time.monotonic() - looked > 2 * WATCH_SECONDS, time.monotonic()
            if late:  # this process was held up, and so perhaps was everything
                continue
            for worker in self._workers:
                allowed = HUNG_SECONDS if worker.report is not None else HUNG_STARTING_SECONDS
                silent = looked - max(self.region.last_beat(worker.number) / 1e9, worker.started)
                if not worker.hung and (silent > allowed or looked > worker.over_at):
                    log.error("worker %d (pid %d) hangs, and is killed", worker.number, worker.pid)
                    worker.hung = True
                    worker.kill()
