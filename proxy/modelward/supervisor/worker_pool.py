"""The workers of a server: as many as configured, replaced when they die or hang, one after the other when told to."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelward.admin.operator import Replaced, WorkerStatus
from modelward.config.changes import with_rules
from modelward.config.schema import Config
from modelward.config.units import SECOND
from modelward.limits import callers
from modelward.models.facts import FactsByVersion
from modelward.models.weights import Shares
from modelward.problem import Problem, ProblemsFound
from modelward.repository.refused import problems_of
from modelward.server.channel import (
    Answers,
    Contain,
    Failed,
    Loading,
    Ready,
    Reload,
    Reloaded,
    Renewed,
    Rule,
    Ruled,
    Share,
    Shared,
    Start,
    Stats,
)
from modelward.server.containment import Containment, deadly
from modelward.server.report import Report
from modelward.server.sticky import sticky_key
from modelward.supervisor.worker_process import WorkerProcess
from modelward.telemetry.merge import added, counters
from modelward.telemetry.snapshot import Snapshot, WorkersSnapshot
from modelward_native.backend import notes
from modelward_native.region.region import Region
from modelward_native.shadow import evidence, shadows
from modelward_native.telemetry import figures

log = logging.getLogger("modelward.supervisor")

# What workers may take to finish what is under way, and when those that are left are killed.
KILL_SECONDS = 3.0  # beyond drain.timeout
# A worker without a sign of life for so long is killed; one that is starting parses models, which may hold its loop up.
HUNG_SECONDS = 5.0
HUNG_STARTING_SECONDS = 60.0
WATCH_SECONDS = 0.5
# Between the deaths of a worker that never gets ready, and its next start.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 10.0


@dataclass(eq=False)
class Place:
    """One of the configured number of workers, whichever process it is at the moment."""

    worker: WorkerProcess | None = None
    failures: int = 0  # starts in a row that never got ready
    problems: tuple[Problem, ...] = ()  # why the last one did not


class Crew:
    """grpc: the bound socket's descriptor. changed: called whenever a worker begins or ceases to be ready.

    waiting: told in words what a worker that is not ready is busy with.
    """

    def __init__(
        self,
        config: Config,
        log_level: str | None,
        grpc: int,
        changed: Callable[[], None],
        waiting: Callable[[str], None],
    ) -> None:
        self.config = config
        self._shares: Shares = {}
        self._facts: Mapping[str, FactsByVersion] = {}  # of what the last worker that ended has served
        # twice as many slots as workers: a replacement starts before the one that it replaces has ended
        self.region = Region.shared(2 * config.workers)
        self.region.sticky_key = sticky_key(config, self.region.sticky_key)
        self._log_level = log_level
        self._grpc = grpc
        self._changed = changed
        self._waiting = waiting
        self._places = [Place() for _ in range(config.workers)]
        self._workers: set[WorkerProcess] = set()
        self._taken: set[int] = set()  # slots that have a process, or are about to
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = Snapshot()  # what workers have counted that are no more
        self._died = self._hung = self._rolled = 0
        self.containment = Containment()
        self._starting, self._ending = True, False
        self._moved = asyncio.Event()  # somebody has got ready, or has ended
        self._rolling = asyncio.Lock()

    @property
    def ready(self) -> int:
        """How many workers take requests."""
        return sum(worker.ready for worker in self._workers)

    @property
    def unanswered(self) -> str:
        """Why none of the workers that take requests can answer for a model; empty while one can."""
        reasons = [worker.unanswered for worker in self._workers if worker.ready]
        return reasons[0] if reasons and all(reasons) else ""

    @property
    def report(self) -> Report | None:
        """Of what is served; None where no worker is or was ready."""
        reports = [worker.report for worker in self._workers if worker.report is not None]
        return reports[0] if reports else None

    @property
    def shares(self) -> Shares:
        """As the workers were last told."""
        return self._shares

    def workers(self) -> list[WorkerStatus]:
        """All processes, those that drain too, in the order of their numbers."""
        now = time.monotonic()
        return [
            WorkerStatus(worker.slot, worker.pid, worker.state, now - worker.started, connections, inflight)
            for worker in sorted(self._workers, key=lambda worker: worker.slot)
            for inflight, connections in (self.region.gauges_of(worker.slot),)
        ]

    async def start(self) -> None:
        """Returns when every worker is ready. Raises ProblemsFound."""
        for place in self._places:
            place.worker = await self._spawn(place)
        self._run(self._watch())
        while not all(place.worker and place.worker.ready for place in self._places):
            await self._move()
            if problems := [problem for place in self._places for problem in place.problems]:
                raise ProblemsFound(dict.fromkeys(problems))
        self._starting = False

    async def restart(self, replaced: Callable[[Replaced], None]) -> None:
        """Every worker is replaced, one after the other, each drained when its replacement is ready.

        replaced: told of each. Raises ProblemsFound where a replacement cannot start; the workers that are left go on.
        """
        async with self._rolling:
            for place in self._places:
                replaced(await self._roll(place))

    async def reload(self, config: Config) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
        """Every worker serves other models from one request to the next; the first tries them for all.

        Returns in words what changed, and what is wrong with models that were refused. Raises ProblemsFound, and then
        all models are as they were.
        """
        changed: dict[str, None] = {}
        problems: dict[Problem, None] = {}
        async with self._rolling:
            for place in self._places:
                worker = place.worker
                if worker is None or not worker.ready:  # whoever takes the place begins with it
                    continue
                while True:
                    worker.reloaded = None
                    worker.tell(Reload(config))
                    while worker in self._workers and worker.reloaded is None:
                        await self._move()
                    if worker.reloaded is not None or not worker.died_of_load:
                        break
                    worker = await self._replacement(place)
                if worker.reloaded is None:
                    raise ProblemsFound([_died_at_reload(worker.slot)])
                if worker.reloaded.report is None:
                    raise ProblemsFound(worker.reloaded.problems)
                changed |= dict.fromkeys(worker.reloaded.changed)
                problems |= dict.fromkeys(worker.reloaded.problems)
                self.config = with_rules(config, self.config)
        if self.report is not None:
            self.containment.keep(self.report.files)
        return tuple(changed), tuple(problems)

    async def _replacement(self, place: Place) -> WorkerProcess:
        """Of a worker that has died of a load, when it is ready. Raises ProblemsFound where it cannot start."""
        while (worker := place.worker) is None or not worker.ready:
            if place.problems:
                raise ProblemsFound(place.problems)
            await self._move()
        return worker

    def pardon(self, model: str, version: str | None) -> list[tuple[str, str]]:
        """These versions are run with everything again; which, by model and version, had not been."""
        pardoned = self.containment.pardon(model, version)
        self._contain()
        return pardoned

    def _contain(self) -> None:
        for worker in self._workers:
            worker.tell(Contain(self.containment.contained))

    async def rule(self, config: Config) -> tuple[str, ...]:
        """Every worker follows at once what is not about models, whatever reload or restart is under way; the first
        tries it for all.

        Returns in words what changed. Raises ProblemsFound, and then everything is as it was.
        """
        changed: dict[str, None] = {}
        first = next((worker for worker in self._workers if worker.ready), None)
        if first is not None:
            changed |= dict.fromkeys(await self._rule([first], config))
        self.config = with_rules(self.config, config)  # workers that start from now on begin with it
        others = [worker for worker in self._workers if worker is not first]
        changed |= dict.fromkeys(await self._rule(others, config))
        return tuple(changed)

    async def _rule(self, workers: Sequence[WorkerProcess], config: Config) -> list[str]:
        for worker in workers:
            worker.ruled = None
            worker.tell(Rule(config))  # one that starts reads it when it is ready

        def lasts() -> bool:
            return any(worker.ready and worker in self._workers and worker.ruled is None for worker in workers)

        while lasts():
            await self._move()
        answers = [worker.ruled for worker in workers if worker.ruled is not None]
        if problems := [problem for answer in answers for problem in answer.problems]:
            raise ProblemsFound(dict.fromkeys(problems))
        return [words for answer in answers for words in answer.changed]

    async def share(self, shares: Shares) -> None:
        """These models' requests are shared among their versions like this, in workers to come too.

        Returns when every worker that takes requests obeys; one that hangs is replaced.
        """
        self._shares = shares
        for worker in self._workers:
            worker.unshared += 1
            worker.tell(Share(shares))
        while any(worker.ready and worker.unshared for worker in self._workers):
            await self._move()

    async def drain(self, delay: float) -> None:
        """After the delay every worker finishes what is under way; those that have not in time are killed."""
        seconds = self.config.drain.timeout / SECOND
        self._ending = True
        for worker in self._workers:
            if worker.report is None:  # it has begun nothing
                worker.kill()
            else:
                worker.drain(seconds, delay)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay + seconds + KILL_SECONDS):
                while self._workers:
                    await self._move()
        for worker in self._workers:
            log.error("worker %d (pid %d) did not end and is killed", worker.slot, worker.pid)

    async def stop(self) -> None:
        """Ends everything at once."""
        self._ending = True
        for worker in self._workers:
            worker.kill()
        while self._workers:
            await self._move()
        for task in self._tasks:
            task.cancel()

    def stats(self) -> Snapshot:
        """What is counted elsewhere than in the region, by the workers that are and by those that were."""
        total = self._gone
        for worker in self._workers:
            total = added(total, worker.stats)
        restarts = {"died": self._died, "hung": self._hung, "asked": self._rolled}
        return added(total, Snapshot(workers=WorkersSnapshot(self.ready, restarts)))

    # ---- one worker

    async def _spawn(self, place: Place) -> WorkerProcess:
        """A process that is to have the place."""
        while len(self._taken) == self.region.slots:  # those that drain have not ended yet
            await self._move()
        slot = min(slot for slot in range(self.region.slots) if slot not in self._taken)
        self._taken.add(slot)  # before anything is waited for: a slot has one writer
        self.region.open(slot)
        worker = await WorkerProcess.start(slot, (self.region.fd, self._grpc))
        self._workers.add(worker)
        if self._ending:
            worker.kill()
        slow, contained = self._slow(), self.containment.contained
        facts = self.report.facts if self.report is not None else self._facts
        worker.tell(Start(self.config, self._log_level, self._shares, slow, contained, facts))
        self._run(self._attend(place, worker))
        return worker

    def _slow(self) -> frozenset[str]:
        """Files of models that a worker has given up: the next one does not try them again."""
        reports = [worker.report for worker in self._workers if worker.report is not None]
        return frozenset(each.slow for report in reports for each in report.refused if each.slow)

    async def _attend(self, place: Place, worker: WorkerProcess) -> None:
        """Everything that one worker says, and its end."""
        problems: tuple[Problem, ...] = ()
        async for message in worker.channel:
            match message:
                case Loading(what):
                    self._waiting(what)
                case Ready(report):
                    worker.report = report
                    place.failures, place.problems = 0, ()
                    self._note_move()
                case Ruled():
                    worker.ruled = message
                    self._note_move()
                case Reloaded(report=report):
                    worker.reloaded = message
                    worker.report = report or worker.report
                    self._note_move()
                case Renewed(report):
                    worker.report = report
                case Answers(reason):
                    worker.unanswered = reason
                    self._changed()
                case Shared():
                    worker.unshared -= 1
                    self._note_move()
                case Failed(found):
                    problems = found
                case Stats(snapshot):
                    worker.stats = snapshot
        code = await worker.ended()
        self._workers.discard(worker)
        if worker.report is not None:
            self._facts = worker.report.facts
        runs = notes.take_runs(self.region, worker.slot)
        if self.containment.take(code, runs, callers.names(self.region)):
            self._contain()  # before whoever takes its place begins
            known = deadly(self.containment.contained)
            worker.died_of_load = any(run.loading and (run.name, run.version, run.digest) in known for run in runs)
        figures.vacate(self.region, worker.slot)
        shadows.vacate(self.region, worker.slot)
        evidence.vacate(self.region, worker.slot)
        self._taken.discard(worker.slot)
        self._gone = added(self._gone, counters(worker.stats))
        if worker.report is None and not worker.draining:
            place.failures = max(place.failures, 1) if worker.died_of_load else place.failures + 1
            place.problems = () if worker.died_of_load else problems or (_died_at_start(code),)
        self._note_move()
        if self._starting and place.problems:  # told by `start`, which gives up
            return
        if place.worker is worker and not self._ending:
            self._hung += worker.hung
            self._died += not worker.hung
            log.error("worker %d (pid %d) has ended with %s; starting another", worker.slot, worker.pid, _ending(code))
            await self._replace(place)

    async def _replace(self, place: Place) -> None:
        """At once, unless it is a worker that does not get ready."""
        place.worker = None
        for problem in place.problems:
            log.error("a worker cannot start: %s", problem)
        if place.failures:
            await asyncio.sleep(min(FIRST_PAUSE_SECONDS * 2 ** (place.failures - 1), LONGEST_PAUSE_SECONDS))
        if not self._ending:
            place.worker = await self._spawn(place)

    async def _roll(self, place: Place) -> Replaced:
        """The next worker of a place takes it over when it is ready; if it never is, nothing has changed."""
        after = await self._spawn(place)
        while after in self._workers and not after.ready:
            await self._move()
        if after.died_of_load:
            return await self._roll(place)
        if not after.ready:
            raise ProblemsFound(place.problems)
        before = place.worker
        if lost := _lost(before, after):
            after.drain(self.config.drain.timeout / SECOND)
            raise ProblemsFound(lost)
        place.worker = after
        self._rolled += 1
        if before is not None:
            before.drain(self.config.drain.timeout / SECOND)
        return Replaced(after.slot, after.pid, before.pid if before is not None else 0)

    async def _watch(self) -> None:
        """Kills workers whose loop shows no sign of life."""
        looked = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            late, looked = time.monotonic() - looked > 2 * WATCH_SECONDS, time.monotonic()
            if late:  # this process was held up, and so perhaps was everything
                continue
            for worker in self._workers:
                patience = HUNG_SECONDS if worker.report is not None else HUNG_STARTING_SECONDS
                silent = looked - max(self.region.last_beat(worker.slot) / 1e9, worker.started)
                if not worker.hung and (silent > patience or looked > worker.over_at):
                    log.error("worker %d (pid %d) hangs, and is killed", worker.slot, worker.pid)
                    worker.hung = True
                    worker.kill()

    # ---- waiting

    def _note_move(self) -> None:
        self._moved.set()
        self._changed()

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def _run(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _lost(before: WorkerProcess | None, after: WorkerProcess) -> tuple[Problem, ...]:
    """Why a worker does not serve versions that the one before it serves, whose files were good then."""
    if before is None or before.report is None or after.report is None:
        return ()
    served, next_served = before.report.versions, after.report.versions
    return problems_of(
        each
        for each in after.report.refused
        if set(served.get(each.name, ())) - set(next_served.get(each.name, ())) and each.name in served
    )


def _died_at_reload(slot: int) -> Problem:
    why, how = "it ended while it read, opened or tried a model", "Look for its last words in the log"
    return Problem(f"worker {slot} has not survived the reload", "models", why, how)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _died_at_start(code: int) -> Problem:
    how = "Look for its last words above; an exit by signal 9 is often a want of memory"
    return Problem(f"a worker ended with {_ending(code)} before it was ready", "workers", how=how)
