"""The workers of a server: as many as configured, replaced when they die or hang, one after the other when told to."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from modelward.admin.operator import NotNow, Replaced, WorkerStatus
from modelward.config.changes import with_rules
from modelward.config.schema import Config
from modelward.config.units import SECOND
from modelward.limits import callers
from modelward.limits.temporary import TemporaryLimit
from modelward.models.approved import Approved
from modelward.models.weights import Shares
from modelward.no_process import NoProcess
from modelward.pickled import REPLACED, Unreadable
from modelward.problem import Problem, ProblemsFound
from modelward.server.canary_causes import CanaryCauses
from modelward.server.channel import (
    Answers,
    Contain,
    Loading,
    Ready,
    Reload,
    Reloaded,
    Rule,
    Ruled,
    Share,
    Shared,
    Start,
)
from modelward.server.containment import Containment, deadly
from modelward.server.override import NOTHING, Override
from modelward.server.report import Report
from modelward.server.sticky import sticky_key
from modelward.supervisor.prefork import Preforked
from modelward.supervisor.utilization_watch import UtilizationWatch
from modelward.supervisor.worker_ends import died_at_reload, died_at_start, ending_of, lost
from modelward.supervisor.worker_process import WorkerProcess
from modelward.supervisor.workers import Workers
from modelward.tasks import Tasks
from modelward.telemetry.merge import added
from modelward.telemetry.snapshot import Snapshot, WorkersSnapshot
from modelward.upstream.breaker_override import BreakerOverride
from modelward_native.backend import notes
from modelward_native.outputs.violations import budgets_used
from modelward_native.region.region import Region

log = logging.getLogger("modelward.supervisor")

# What workers may take to finish what is under way, and when those that are left are killed.
KILL_SECONDS = 3.0  # beyond drain.timeout
# Between the deaths of a worker that never gets ready, and its next start.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 10.0


class WorkerSlot(Struct, eq=False):
    """One of the configured number of workers, whichever process it is at the moment."""

    worker: WorkerProcess | None = None
    failures: int = 0  # starts in a row that never got ready
    problems: tuple[Problem, ...] = ()  # why the last one did not


class WorkerPool:
    """grpc: the bound socket's descriptor. changed: called whenever a worker begins or ceases to be ready.

    waiting: told in words what a worker that is not ready is busy with. approved: versions that may answer, where
    promotions need approvals.
    """

    def __init__(
        self,
        config: Config,
        log_level: str | None,
        grpc: int,
        changed: Callable[[], None],
        waiting: Callable[[str], None],
        *,
        approved: Callable[[], Approved | None] = lambda: None,
    ) -> None:
        self.config = config
        self._shares: Shares = {}
        self._override = NOTHING
        # twice as many parts as workers: a replacement starts before the one that it replaces has ended
        self.region = Region.shared(2 * config.workers)
        self.region.sticky_key = sticky_key(config, self.region.sticky_key)
        self._log_level = log_level
        self._changed = changed
        self._waiting = waiting
        self._approved = approved
        self._slots = [WorkerSlot() for _ in range(config.workers)]
        self._workers = Workers(self.region, grpc, changed)
        self._utilization = UtilizationWatch(self._workers)
        self._tasks = Tasks()
        self._died = self._hung = self._rolled = 0
        self.containment = Containment()
        self._starting, self._ending = True, False
        self._rolling = asyncio.Lock()

    @property
    def ready(self) -> int:
        """How many workers take requests."""
        return self._workers.ready

    @property
    def unanswered(self) -> str:
        """Why none of the workers that take requests can answer for a model; empty while one can."""
        return self._workers.unanswered

    @property
    def report(self) -> Report | None:
        """Of what is served; None where no worker is or was ready."""
        return self._workers.report

    @property
    def shares(self) -> Shares:
        """As the workers were last told."""
        return self._shares

    @property
    def unsealed(self) -> Mapping[tuple[str, str, int], tuple[str, str]]:
        """As Workers.unsealed."""
        return self._workers.unsealed

    @property
    def canary_causes(self) -> CanaryCauses:
        """As Workers.canary_causes."""
        return self._workers.canary_causes

    def workers(self) -> list[WorkerStatus]:
        """All processes, those that drain too, in the order of their numbers."""
        return self._workers.status()

    async def start(self, preforked: list[Preforked]) -> None:
        """Returns when every worker is ready. preforked: as Workers.preforked. Raises ProblemsFound."""
        self._workers.preforked = preforked
        for slot in self._slots:
            slot.worker = await self._spawn(slot)
        self._tasks.spawn(self._workers.watch())
        while not all(slot.worker and slot.worker.ready for slot in self._slots):
            await self._workers.move()
            if problems := [problem for slot in self._slots for problem in slot.problems]:
                raise ProblemsFound(dict.fromkeys(problems))
        self._starting = False
        self._tasks.spawn(self._utilization.run())

    async def restart(self, replaced: Callable[[Replaced], None]) -> None:
        """Every worker is replaced, one after the other, each drained when its replacement is ready.

        replaced: told of each. Raises ProblemsFound where a replacement cannot start; the workers that are left go on.
        Raises NotNow where the server ends meanwhile.
        """
        async with self._rolling:
            for slot in self._slots:
                replaced(await self._roll(slot))

    async def reload(self, config: Config) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
        """Every worker serves other models from one request to the next; the first tries them for all.

        Returns in words what changed, and what is wrong with models that were refused. Raises ProblemsFound, and then
        all models are as they were; NotNow where the server ends meanwhile.
        """
        changed: dict[str, None] = {}
        problems: dict[Problem, None] = {}
        async with self._rolling:
            for slot in self._slots:
                worker = slot.worker
                if worker is None or not worker.ready:  # the next one begins with it
                    continue
                while True:
                    worker.reloaded = None
                    worker.tell(Reload(config))
                    while worker in self._workers and worker.reloaded is None:
                        await self._workers.move()
                    if worker.reloaded is not None or not worker.died_of_load:
                        break
                    worker = await self._replacement(slot)
                if worker.reloaded is None:
                    self._stay()
                    raise ProblemsFound([died_at_reload(worker.number)])
                if worker.reloaded.report is None:
                    raise ProblemsFound(worker.reloaded.problems)
                changed |= dict.fromkeys(worker.reloaded.changed)
                problems |= dict.fromkeys(worker.reloaded.problems)
                self.config = with_rules(config, self.config)
        if self.report is not None:
            self.containment.keep(self.report.files)
        return tuple(changed), tuple(problems)

    async def _replacement(self, slot: WorkerSlot) -> WorkerProcess:
        """Of a worker that has died of a load, when it is ready. Raises ProblemsFound where it cannot start."""
        while (worker := slot.worker) is None or not worker.ready:
            self._stay()
            if slot.problems:
                raise ProblemsFound(slot.problems)
            await self._workers.move()
        return worker

    def _stay(self) -> None:
        """Raises NotNow where the server ends: what its workers have not done is no fault of theirs."""
        if self._ending:
            raise NotNow("given up, since the server is ending; ask the next one")

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
            await self._workers.move()
        answers = [worker.ruled for worker in workers if worker.ruled is not None]
        if problems := [problem for answer in answers for problem in answer.problems]:
            raise ProblemsFound(dict.fromkeys(problems))
        return [words for answer in answers for words in answer.changed]

    async def share(self, shares: Shares) -> None:
        """These models' requests are shared among their versions like this, in workers to come too.

        Returns when every worker that takes requests obeys; one that hangs is replaced.
        """
        self._shares = shares
        await self._tell(Share(shares, self._approved()))

    async def limit(self, limits: tuple[TemporaryLimit, ...]) -> None:
        """These limits hold in place of the configured ones, in workers to come too. Returns as `share`."""
        self._override = replace(self._override, limits=limits)
        await self._tell(self._override)

    async def override_breakers(self, breakers: tuple[BreakerOverride, ...]) -> None:
        """These breakers are held open or closed, in workers to come too. Returns as `share`."""
        self._override = replace(self._override, breakers=breakers)
        await self._tell(self._override)

    async def _tell(self, message: Share | Override) -> None:
        for worker in self._workers:
            worker.unshared += 1
            worker.tell(message)
        while any(worker.ready and worker.unshared for worker in self._workers):
            await self._workers.move()

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
                    await self._workers.move()
        for worker in self._workers:
            log.error("worker %d (pid %d) did not end and is killed", worker.number, worker.pid)

    async def stop(self) -> None:
        """Ends everything at once."""
        self._ending = True
        for worker in self._workers:
            worker.kill()
        while self._workers:
            await self._workers.move()
        self._tasks.cancel()

    def stats(self) -> Snapshot:
        """What is counted elsewhere than in the region, by the workers that are and by those that were."""
        workers = WorkersSnapshot(self.ready, {"died": self._died, "hung": self._hung, "asked": self._rolled})
        return added(self._workers.stats(), replace(self._utilization.stats(), workers=workers))

    def told(self) -> Snapshot:
        """The same for an operator, with how much of the budgets of outputs is used."""
        return replace(self.stats(), output_budgets=budgets_used(self.region, time.monotonic_ns()))

    async def _spawn(self, slot: WorkerSlot) -> WorkerProcess:
        """A process for the slot. Raises NoProcess."""
        worker = await self._workers.start()
        if self._ending:
            worker.kill()
        slow, contained, facts = self._workers.slow, self.containment.contained, self._workers.facts
        approved, override = self._approved(), self._override
        worker.tell(Start(self.config, self._log_level, self._shares, slow, contained, facts, approved, override))
        self._tasks.spawn(self._attend(slot, worker))
        return worker

    async def _attend(self, slot: WorkerSlot, worker: WorkerProcess) -> None:
        """Everything that one worker says, and its end."""
        try:
            await self._listen(slot, worker)
        except Unreadable as error:
            log.error("what worker %d (pid %d) says cannot be read: %s", worker.number, worker.pid, error)
            worker.problems = (REPLACED,)
            worker.kill()
        code = await worker.ended()
        self._workers.discard(worker)
        runs = notes.take_runs(self.region, worker.number)
        if self.containment.take(code, runs, callers.names(self.region)):
            self._contain()  # before the next one begins
            known = deadly(self.containment.contained)
            worker.died_of_load = any(run.loading and (run.name, run.version, run.digest) in known for run in runs)
        self._workers.vacate(worker)
        if worker.report is None and not worker.draining:
            slot.failures = max(slot.failures, 1) if worker.died_of_load else slot.failures + 1
            slot.problems = () if worker.died_of_load else worker.problems or (died_at_start(code),)
        self._workers.note_move()
        if self._starting and slot.problems:  # told by `start`, which gives up
            return
        if slot.worker is worker and not self._ending:
            self._hung += worker.hung
            self._died += not worker.hung
            log.error(
                "worker %d (pid %d) has ended with %s; starting another", worker.number, worker.pid, ending_of(code)
            )
            await self._replace(slot)

    async def _listen(self, slot: WorkerSlot, worker: WorkerProcess) -> None:
        """Until it has gone. Raises Unreadable."""
        async for message in worker.channel:
            worker.take(message)
            match message:
                case Loading(what):
                    self._waiting(what)
                case Ready():
                    slot.failures, slot.problems = 0, ()
                    self._workers.note_move()
                case Ruled() | Reloaded() | Shared():
                    self._workers.note_move()
                case Answers():
                    self._changed()

    async def _replace(self, slot: WorkerSlot) -> None:
        """At once, unless it is a worker that does not get ready."""
        slot.worker = None
        while slot.worker is None and not self._ending:
            for problem in slot.problems:
                log.error("a worker cannot start: %s", problem)
            if slot.failures:
                await asyncio.sleep(min(FIRST_PAUSE_SECONDS * 2 ** (slot.failures - 1), LONGEST_PAUSE_SECONDS))
            if self._ending:
                return
            try:
                slot.worker = await self._spawn(slot)
            except NoProcess as found:
                slot.failures, slot.problems = slot.failures + 1, found.problems
                self._workers.note_move()

    async def _roll(self, slot: WorkerSlot) -> Replaced:
        """The next worker of a slot takes it over when it is ready; if it never is, nothing has changed."""
        after = await self._spawn(slot)
        while after in self._workers and not after.ready:
            await self._workers.move()
        self._stay()
        if after.died_of_load:
            return await self._roll(slot)
        if not after.ready:
            raise ProblemsFound(slot.problems)
        before = slot.worker
        if gone := lost(before, after):
            after.drain(self.config.drain.timeout / SECOND)
            raise ProblemsFound(gone)
        slot.worker = after
        self._rolled += 1
        if before is not None:
            before.drain(self.config.drain.timeout / SECOND)
        return Replaced(after.number, after.pid, before.pid if before is not None else 0)
