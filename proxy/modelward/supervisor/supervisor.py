"""The process that owns the sockets, the shared memory and the workers, and answers for all of them: HTTP, admin API.

It serves no request itself and opens no model, so that nothing it does can hold one up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from modelward.admin.operator import Draining, NotNow, OperationResult, PromotionStatus, Replaced, Status
from modelward.admin.reach import open_to
from modelward.approvals.configuration import Configuration
from modelward.audit.recorder import Recorder
from modelward.config.address import Address
from modelward.config.digest import digest
from modelward.config.schema import Config
from modelward.config.state_folder import state_folder
from modelward.limits.callers import Callers, Watch, most, names
from modelward.limits.shared import SharedLimits
from modelward.models.catalog import Catalog
from modelward.models.facts import FactsByVersion, run_here
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.promotion.counted import counted
from modelward.promotion.promoter import Promoter
from modelward.repository.scan import listed
from modelward.server.bind import BoundSocket, InheritedSocket
from modelward.server.http import AppState, HttpServer
from modelward.server.report import Report
from modelward.server.sticky import kept_key
from modelward.supervisor.activation import Sockets
from modelward.supervisor.breaker_overrides import BreakerOverrides
from modelward.supervisor.fleet import Fleet
from modelward.supervisor.four_eyes import FourEyes
from modelward.supervisor.named_files import NamedFiles
from modelward.supervisor.notify import Notifier
from modelward.supervisor.observing import Observing
from modelward.supervisor.phase import Phase, Progress, left
from modelward.supervisor.prefork import Preforked
from modelward.supervisor.promoted_workers import PromotedWorkers
from modelward.supervisor.recheck import Recheck, integrity_stats
from modelward.supervisor.recording import Recording
from modelward.supervisor.reloader import Reloader
from modelward.supervisor.shadow_verdicts import ShadowVerdicts
from modelward.supervisor.shares import acting_as_promoted, policies, shares, weights
from modelward.supervisor.temporary_limits import TemporaryLimits
from modelward.supervisor.watched_drift import WatchedDrift
from modelward.supervisor.watched_identities import WatchedIdentities
from modelward.supervisor.worker_pool import WorkerPool
from modelward.tasks import Tasks
from modelward.telemetry import native_snapshot
from modelward.telemetry.exposition import Exposition
from modelward.telemetry.merge import added
from modelward.telemetry.objectives import objectives
from modelward.telemetry.snapshot import Snapshot
from modelward.telemetry.summary import sum_up
from modelward_native.telemetry import stats

if TYPE_CHECKING:
    from modelward.admin.server import AdminServer

log = logging.getLogger("modelward.supervisor")

ANSWERED_SECONDS = 0.2  # in which the one that asks for a drain has the answer, before the admin API may end
EVENTS_TOLD = 50  # the last, in answers about the server's status


class Supervisor:
    """Use `start`, wait for whatever is to end it, then `drain`; and `stop` in any case.

    log_level: over log.level. configuration: reads it again. sockets: bound already. notifier: to the service manager.
    """

    def __init__(
        self, config: Config, log_level: str | None, configuration: Configuration, sockets: Sockets, notifier: Notifier
    ) -> None:
        self._log_level, self._sockets = log_level, sockets
        self.preforked: list[Preforked] = []  # what becomes the first workers
        self._notifier = notifier
        self._phase = Phase(lambda: self._pool, lambda: self.config, notifier)
        self.drain_asked = asyncio.Event()  # an operator wants what SIGTERM wants
        self._tasks = Tasks()
        self._bound: BoundSocket | InheritedSocket | None = None
        self._http: HttpServer | None = None
        self._admin: AdminServer | None = None
        self._pool: WorkerPool | None = None
        self._shadowing = ShadowVerdicts(lambda: self.config, lambda: self._pool)
        self._observing = Observing(lambda: self.config, lambda: self.trail)
        serving = PromotedWorkers(lambda: self.config, lambda: self._pool, self._shadowing, self._observing.drift_cause)
        self._promoter = Promoter(serving, state_folder(config.state))
        self._promoter.recorder = lambda: self.trail
        self.fleet = Fleet(config, self._promoter, self._phase.readiness)
        self._reloader = Reloader(
            config,
            lambda: configuration.read(self.config),
            self._phase.at_work,
            self._promoter,
            notifier,
            done=self._reloaded,
            prepare=self._prepare_rights,
            faulty=lambda: configuration.faulty,
            recorder=lambda: self.trail,
        )
        self.watch_failures = 0  # of the configuration and the repository
        self._began = time.monotonic()
        self._shared: SharedLimits | None = None
        self._restarting, self._recording = False, Recording()
        self.proposals = FourEyes(
            self, self._promoter, serving, self._shadowing, configuration, lambda: self.config, lambda: self.trail
        )
        self._recheck = Recheck(lambda: self.config, lambda: self._facts, lambda: self.trail, self._promoter.note)
        held = (self._phase.at_work, lambda: self.config, lambda: self.trail)
        self.temporary_limits = TemporaryLimits(*held)
        self.breakers = BreakerOverrides(*held, self._promoter.note)
        self._identities = WatchedIdentities(*held, self._promoter.note)
        self.drift = WatchedDrift(self._observing, self._phase.at_work, self._promoter.note)
        self.restrictions, self.suspects = self._identities.restrictions, self._identities.suspects

    @property
    def trail(self) -> Recorder:
        return self._recording.recorder

    @property
    def config(self) -> Config:
        return self._reloader.config

    @property
    def needs_restart(self) -> Sequence[str]:
        """Of the configuration's keys those that only a restart of the server changes."""
        return self._reloader.needs_restart

    @property
    def report(self) -> Report:
        """Of what is served; once it has started."""
        assert self._pool is not None and self._pool.report is not None
        report = self.fleet.told(self._pool.report.with_guard("state", self._promoter.store.words))
        report = report.with_notes(self._promoter.notes)
        if admin := open_to(self.config):
            report = report.with_guard("admin", admin)
        if self.config.operators is not None:
            report = report.with_guard("operators", self.config.operators.words)
        report = self.proposals.told(self._observing.told(report)).with_guard("audit", self._recording.trail)
        if witnessed := self._recording.witnessed:
            report = report.with_guard("witness", witnessed)
        return report if self._shared is None else report.with_guard("limits", self._shared.words)

    async def start(self, progress: Progress) -> None:
        """Binds and starts everything, and returns when every worker is ready. Raises ProblemsFound.

        progress: told what the first workers are busy with before they are ready.
        """
        self._phase.progress = progress
        self.proposals.load()
        await self._recording.start(self.config, self.proposals.outcome)
        self._promoter.load()
        await self.fleet.start(self.proposals.join)
        self._promoter.resume(lambda: listed(self.config.repository))
        self._tasks.spawn(self._notifier.beat())
        self._http = await self._start_http()
        self._bound = self._sockets.get("grpc") or BoundSocket(self.config.listen.grpc, self.config.listen.mode)
        addresses = {"grpc": self._bound.address, "http": self._http.address}
        if self.config.listen.admin is not None:
            self._admin = await self._start_admin(self.config.listen.admin)
            addresses["admin"] = self._admin.address
        listen = self.config.listen.model_copy(update=addresses)
        self._reloader.config = self.config.model_copy(update={"listen": listen})
        approved, grpc = lambda: self._promoter.state.may_answer, self._bound.socket.fileno()
        self._pool = WorkerPool(
            self.config, self._log_level, grpc, self._phase.judge, self._phase.wait_for, approved=approved
        )
        if self.config.limits.shared is not None:
            self._shared = SharedLimits(self.config.limits.shared, self._pool.region)
            await self._shared.start()
        self._promoter.store.beside = kept_key(self.config, self._pool.region.sticky_key)
        await self._pool.share(self._promoter.shares)
        await self._pool.start(self.preforked)
        self._promoter.settle()
        await self._pool.share(self._promoter.shares)
        self._observing.follow(self._pool.region)
        self._tasks.spawn(self._observing.watch(self._pool.region))
        self._tasks.spawn(self._promoter.watch())
        self.fleet.begin(self._tasks, self._shadowing, self.temporary_limits, self.breakers, lambda: self.trail)
        for each in (Watch(self._pool.region).run(), sum_up(self._pool.region), self._recheck.watch()):
            self._tasks.spawn(each)
        self._tasks.spawn(self._reloader.remind())
        self._tasks.spawn(NamedFiles(lambda: self.config, lambda: self.trail).watch())
        self._recording.observe(self._tasks, self._pool, self._shadowing, lambda: self._shared)
        self._identities.observe(self._tasks, self._pool.region)
        self._tasks.spawn(self.proposals.run())
        self._phase.begin()

    async def restart(
        self, replaced: Callable[[Replaced], None] = lambda worker: None, actor: str = ""
    ) -> OperationResult:
        """Replaces every worker, one after the other, without a request that fails. What comes of it is in the log too.

        replaced: told of each. Raises NotNow, also while another restart lasts.
        """
        pool = self._phase.at_work()
        if self._restarting:
            raise NotNow("the workers are being restarted already; ask again when that has ended")
        self._restarting = True
        log.info("restarting workers%s", f", asked by {actor}" if actor else "")
        if actor:
            self._promoter.note("restart", actor)
        try:
            await pool.restart(replaced)
        except ProblemsFound as found:
            for problem in found.problems:
                log.error("not restarted: %s", problem)
            return OperationResult(found.problems)
        finally:
            self._restarting = False
        log.info("workers restarted")
        return OperationResult()

    async def reload(self, actor: str = "", rights: bool = True) -> OperationResult:
        """Serves what configuration and repository hold now; see Reloader. Raises NotNow."""
        result = await self._reloader.reload(actor, rights)
        try:
            return replace(result, proposal=await self.proposals.follow(asked=bool(actor)))
        except ProblemsFound as found:
            return replace(result, problems=(*result.problems, *found.problems))

    def _reloaded(self, said: str) -> None:
        self.restrictions.follow()
        self._phase.reloaded(said)

    async def promote(self, wanted: Wanted) -> PromotionStatus:
        """Raises ProblemsFound, and then nothing has changed; NotNow."""
        self._phase.at_work()
        await self._promoter.promote(wanted)
        return self._promoted(wanted.model, self._promoter.too_few_callers(wanted.model))

    async def rollback(self, model: str, why: str = "", actor: str = "", proposal: int = 0) -> PromotionStatus:
        """Raises ProblemsFound, and then nothing has changed; NotNow."""
        self._phase.at_work()
        await self._promoter.rollback(model, why, actor, proposal)
        return self._promoted(model, self.fleet.warnings)

    async def pardon(self, model: str, version: str | None, actor: str = "") -> Sequence[tuple[str, str]]:
        """Raises NotNow."""
        pardoned = self._phase.at_work().pardon(model, version)
        for name, each in pardoned:
            self._promoter.note("pardon", actor, f"model {name} version {each}")
        return pardoned

    @property
    def _facts(self) -> Mapping[str, FactsByVersion]:
        """Of what runs here."""
        return run_here(self._pool.report.facts) if self._pool is not None and self._pool.report is not None else {}

    def callers(self, count: int) -> Callers:
        """Who is over which limit, and who spends most."""
        return most(self._pool.region, count) if self._pool is not None else Callers()

    def capture_folder(self, model: str) -> Path | None:
        return self._observing.folder(model)

    def observed(self, texts: Sequence[str]) -> Mapping[str, str]:
        return self._observing.whose(self._pool.region, texts) if self._pool is not None else {}

    async def shadows(self, model: str) -> Sequence[Mapping[str, Any]]:
        """Raises ProblemsFound, NotNow."""
        self._phase.at_work()
        return await self._shadowing.told(model)

    def _promoted(self, model: str, warnings: Sequence[Problem] = ()) -> PromotionStatus:
        return PromotionStatus(model, self._promoter.known(model), (*warnings,), self._promoter.store.unsaved)

    def status(self) -> Status:
        """At this moment, from the start on."""
        pool, config, promoter = self._pool, self.config, self._promoter
        report = pool.report if pool is not None else None
        facts = report.facts if report is not None else {}
        return Status(
            state="ready" if self._phase.readiness.ready else self._phase.readiness.reason,
            uptime_seconds=time.monotonic() - self._began,
            generation=self._reloader.generation,
            grpc=self.config.listen.grpc,
            http=self.config.listen.http,
            workers=pool.workers() if pool is not None else (),
            limits_store="shared memory" if self._shared is None else self._shared.words,
            report=self.report.with_refused(promoter.refused) if report is not None else None,
            stats=pool.told() if pool is not None else Snapshot(),
            weights=weights(config, promoter, report) if report is not None else {},
            failing=self._failing(),
            contained=pool.containment.inputs if pool is not None else (),
            callers=names(pool.region) if pool is not None else {},
            promotions=[self._promoted(model) for model in self._promoter.state.promotions],
            policies=policies(config, facts),
            acting_as_promoted=acting_as_promoted(config, facts),
            events=self._promoter.state.events[-EVENTS_TOLD:],
            unsaved=self._promoter.store.unsaved,
            refused_reload=self._reloader.history.refused,
            changed_files=self._recheck.changed,
            config=digest(self.config),
            audit=self._recording.words,
            temporary_limits=(*self.temporary_limits.limits.values(),),
            waiting=self.proposals.waiting,
            operators=config.operators.words if config.operators is not None else "",
            approvals=self.proposals.words,
            configuration=self.proposals.waiting_files,
            needs_restart=self.needs_restart,
            breakers=(*self.breakers.overrides.values(),),
            learning=self._identities.learning(),
            fleet=self.fleet.words,
        )

    async def ask_to_drain(self, actor: str = "") -> Draining:
        """Raises NotNow."""
        pool = self._phase.at_work()
        log.info("drain, asked by %s", actor)
        self._promoter.note("drain", actor)
        self._phase.end("draining")  # a second one is not now
        asyncio.get_running_loop().call_later(ANSWERED_SECONDS, self.drain_asked.set)
        return left(pool, self.config.drain)

    async def drain(self) -> None:
        """Readiness off; after drain.delay no new connections, what is under way finished within drain.timeout."""
        began = time.monotonic()
        self._phase.end("draining")
        self._notifier.stopping("draining")
        if self._pool is None:
            return
        log.info("draining: not ready any more; %s", begun := left(self._pool, self.config.drain))
        await self._pool.drain(begun.delay)
        unfinished = self._pool.region.gauges()[0]
        log.info("drained after %.1f s; %d requests were not finished", time.monotonic() - began, unfinished)

    async def stop(self) -> None:
        """Ends everything at once."""
        self._phase.end("stopped")
        if self._admin is not None:
            await self._admin.stop()
        self._reloader.cancel()
        if self._pool is not None:
            await self._pool.stop()
        await self._observing.stop()
        if self._shared is not None:
            await self._shared.stop()
        await self.fleet.stop()
        if self._http is not None:
            await self._http.stop()
        if self._bound is not None:
            self._bound.close()
        self._tasks.cancel()
        self._identities.end()
        await self._recording.stop()

    def snapshot(self) -> Snapshot:
        """All counters of all workers, whatever has become of them."""
        if self._pool is None:
            return Snapshot()
        report, promoter = self._pool.report, self._promoter
        observations, capture = self._observing.stats()
        own = replace(
            added(self._pool.stats(), replace(counted(promoter), reloads=self._reloader.history.stats())),
            shared=self._shared.stats() if self._shared is not None else None,
            fleet=self.fleet.stats(),
            shares=shares(self.config, promoter, report) if report is not None else {},
            objectives=objectives(self.config.models),
            watch_failures=self.watch_failures,
            crashes=dict(self._pool.containment.crashes),
            contained={(each.model, each.version): each.count for each in self._pool.containment.inputs},
            deaths=dict(self._pool.containment.deaths),
            shadows=self._shadowing.snapshots(),
            breaker_overrides=self.breakers.counted(),
            operators=self._admin.authorization.stats() if self._admin is not None else None,
            audit=self._recording.stats(),
            observations=observations,
            capture=capture,
            drift=self._observing.drift_stats(),
            approvals=self.proposals.stats(),
            detection=self._identities.stats(),
            integrity=integrity_stats(self._facts, self._recheck),
        )
        return added(native_snapshot.snapshot(self._pool.region, self.config.metrics.identities), own)

    def _failing(self) -> dict[tuple[str, str], int]:
        return stats.failing(self._pool.region) if self._pool is not None else {}

    async def _start_admin(self, address: Address) -> AdminServer:
        from modelward.admin.server import AdminServer  # noqa: PLC0415 - 2 MiB that a server without does not need

        return await AdminServer.start(address, self.config.admin_tls, self, self.config.operators, self.trail)

    def _prepare_rights(self, config: Config) -> Callable[[], None]:
        return self._admin.prepare(config.operators) if self._admin is not None else lambda: None

    async def _start_http(self) -> HttpServer:
        state = AppState(lambda: Catalog(()), self._phase.readiness, Exposition(self.snapshot), self._failing)
        return await HttpServer.start(self.config.listen.http, state, self._sockets.get("http"))
