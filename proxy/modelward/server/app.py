"""One serving process: from configuration over open models to listeners, and down again without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from modelward.config.listen import Listen
from modelward.config.schema import Config
from modelward.config.state_folder import state_folder
from modelward.config.units import SECOND
from modelward.detect.learning import learn
from modelward.limits.shared import SharedLimits, shared_hash_key
from modelward.models.approved import Approved
from modelward.models.catalog import Catalog
from modelward.models.facts import FactsByVersion
from modelward.models.inventory import Reads, read_here
from modelward.models.opening import OpenVersion, Progress
from modelward.models.scanned import severities
from modelward.models.weights import Shares
from modelward.repository.refused import Refused
from modelward.server import methods
from modelward.server.accept import Acceptor, Handshakes
from modelward.server.answering import Answering
from modelward.server.bind import BoundSocket, InheritedSocket
from modelward.server.containment import Contained
from modelward.server.drain import drain
from modelward.server.health import prepared
from modelward.server.memory import keep_small
from modelward.server.override import NOTHING, Override
from modelward.server.pressure import PERIOD_SECONDS, Pressure
from modelward.server.readiness import Readiness
from modelward.server.serving import Serving
from modelward.server.sticky import sticky_key
from modelward.shadow.sample_writer import SampleWriter, Taken
from modelward.shadow.samples import FOLDER as SAMPLES
from modelward.tasks import Tasks
from modelward.telemetry.build import build
from modelward.telemetry.merge import added
from modelward.telemetry.native_snapshot import close_reasons, snapshot
from modelward.telemetry.objectives import objectives
from modelward.telemetry.snapshot import CloseReasonSnapshot, Snapshot
from modelward.telemetry.summary import sum_up
from modelward_native.backend.pool import Endpoint
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.request.server import Server
from modelward_native.telemetry import stats
from modelward_native.timer.deadline import Wheel

if TYPE_CHECKING:
    from modelward.server.access_log import AccessLogWriter
    from modelward.server.http import HttpServer

BACKLOG = 4096
DRAIN_SECONDS = 20.0
EVENTS_SECONDS = 1.0


class Inherited(Struct, frozen=True):
    """What a worker has in common with other processes. reads: model files."""

    region: Region
    bound: InheritedSocket
    reads: Reads = read_here


class Application:
    """A server on the running loop. `serving` says what it serves. Use `running`, which starts and ends it.

    inherited: what a worker has from its supervisor, which then answers over HTTP as well. shares, contained and
    override, opened: as in Serving. slow: hashes of files of models that are not tried again, since they took too long.
    facts: of versions that other workers serve.
    """

    def __init__(
        self,
        config: Config,
        inherited: Inherited | None = None,
        shares: Shares | None = None,
        slow: frozenset[str] = frozenset(),
        contained: Sequence[Contained] = (),
        *,
        facts: Mapping[str, FactsByVersion] | None = None,
        approved: Approved | None = None,
        override: Override = NOTHING,
        opened: Callable[[Sequence[OpenVersion]], None] = lambda models: None,
    ) -> None:
        self._tasks = Tasks()
        self.serving = Serving(config, shares or {}, contained, self._tasks, approved, override=override)
        self.serving.opened = opened
        if inherited is not None:
            self.serving.reads = inherited.reads
        self.region = Region() if inherited is None else inherited.region
        if inherited is None:
            self.region.sticky_key = sticky_key(config, self.region.sticky_key)
        self.readiness = Readiness("loading models")
        self.answering = Answering(lambda: self.catalog, self.readiness)
        self._answering: asyncio.Task[None] | None = None
        self.server: Server | None = None
        self.grpc_address = config.listen.grpc
        self.http_address = config.listen.http
        self.loop: asyncio.AbstractEventLoop | None = None
        self._slow = slow
        self._facts = facts or {}
        self._http: HttpServer | None = None
        self._bound: BoundSocket | InheritedSocket | None = None if inherited is None else inherited.bound
        self._shared: SharedLimits | None = None
        self._acceptor: Acceptor | None = None
        self._wheel: Wheel | None = None
        self._sample_writer: SampleWriter | None = None
        self._access_log: AccessLogWriter | None = None

    @property
    def config(self) -> Config:
        """As it is followed."""
        return self.serving.config

    @property
    def listen(self) -> Listen:
        """Where it listens, with real ports; once it has started. The admin API is a supervisor's."""
        return Listen.model_validate({"grpc": self.grpc_address, "http": self.http_address, "admin": "off"})

    @property
    def models(self) -> tuple[OpenVersion, ...]:
        """Every version that is served."""
        return self.serving.models

    @property
    def refused(self) -> tuple[Refused, ...]:
        """What the repository holds and cannot be served."""
        return self.serving.refused

    @property
    def catalog(self) -> Catalog:
        return self.serving.catalog

    @property
    def upstreams(self) -> list[Endpoint]:
        """Every endpoint of every pool."""
        return self.serving.endpoints

    async def start(self, progress: Progress = lambda name: None) -> None:
        """Answers probes at once and requests once every model is warm. Raises ProblemsFound."""
        self.loop = loop = asyncio.get_running_loop()
        serving = self.serving
        if self._bound is None:
            self._http = await self._start_http()
            self._bound = BoundSocket(self.config.listen.grpc, self.config.listen.mode)
        self.grpc_address = self._bound.address

        def waiting(reason: str) -> None:
            if reason != self.readiness.reason:
                progress(reason)
            self.readiness.set(False, reason)

        first = await serving.prepare(self._slow, self._facts, progress, waiting)
        self._wheel = Wheel(loop)
        limiter, shared = Limiter(region=self.region), self.config.limits.shared
        if shared is not None:
            limiter.share(shared_hash_key(shared))
            if self._http is not None:  # else it is the supervisor's
                self._shared = SharedLimits(shared, self.region)
                await self._shared.start()
        identities = self.config.detection.identities
        self.server = server = Server(self._wheel, limiter, first.directory, self.region, identities)
        server.observe(self.config.observations.memory)
        serving.begin(server, first)
        dispatcher = methods.Dispatcher(methods.build(lambda: self.catalog, self.readiness, serving.refresher.known))
        server.start(loop, dispatcher.answer, dispatcher.kinds, dispatcher.streaming, dispatcher.client_streaming)
        self.readiness.follow(lambda ready: server.set_probes(prepared(ready)))
        await serving.connect()
        self._acceptor = self._listen(self._bound, server)
        self._tasks.spawn(self._log_events(server))
        self._tasks.spawn(learn(lambda: server.watchers))
        self._tasks.spawn(keep_small(lambda: server.totals()["inflight_bytes"]))
        if self._http is not None:  # else the supervisor sums up
            self._tasks.spawn(sum_up(self.region))
        self._tasks.spawn(self._pace_shadows(server))
        samples = state_folder(self.config.state) / SAMPLES
        self._sample_writer = SampleWriter(self._samples, samples, self.region.slot, self.region.slots)
        self._tasks.spawn(self._sample_writer.run())
        if (wanted := self.config.access_log) is not None:
            from modelward.server.access_log import AccessLogWriter, sink_of  # noqa: PLC0415 - only where it is wanted

            server.log_access(wanted.sample)
            sink = sink_of(wanted, self.region.slot)
            self._access_log = AccessLogWriter(server.take_access, lambda: server.access_dropped, sink, wanted.where)
            self._tasks.spawn(self._access_log.run())
        self.answering.begin()
        self._answering = self._tasks.spawn(self.answering.run())

    def _listen(self, bound: BoundSocket | InheritedSocket, server: Server) -> Acceptor:
        handshakes = None
        if self.serving.tls is not None:
            seconds = self.config.limits.timeouts.handshake / SECOND
            handshakes = Handshakes(self.serving.tls, seconds, self.serving.checker)
        acceptor = Acceptor(server.listener, bound.socket, self.region, handshakes)
        acceptor.start(BACKLOG)
        return acceptor

    async def drain(self, seconds: float = DRAIN_SECONDS, delay: float = 0) -> None:
        """Readiness off; after the delay no new connections, clients told to go elsewhere, requests finished."""
        if self._answering is not None:
            self._answering.cancel()
        self.readiness.set(False, "draining")
        await asyncio.sleep(delay)
        if self._acceptor is not None:
            self._acceptor.close()
        if self.server is not None:
            await drain(self.server, self._acceptor, seconds)
        if self._access_log is not None:
            await self._access_log.keep()

    async def stop(self) -> None:
        """Ends everything at once."""
        self.readiness.set(False, "stopped")
        self._tasks.cancel()
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor.abandon()
        self.serving.stop()
        if self.server is not None:
            self.server.stop()
        await self.serving.close()
        if self._wheel is not None:
            self._wheel.close()
        if self._shared is not None:
            await self._shared.stop()
        if self._http is not None:
            await self._http.stop()
        if self._bound is not None:
            self._bound.close()

    # ---- what is told of it

    def snapshot(self) -> Snapshot:
        """All counters at this moment."""
        own = replace(self.cold(), shares=self.catalog.shares, objectives=objectives(self.serving.config.models))
        return added(snapshot(self.region, self.serving.config.metrics.identities), own)

    def cold(self) -> Snapshot:
        """What is counted elsewhere than in the region: by reloads, upstreams, connections, TLS and access."""
        serving = self.serving
        return replace(
            serving.generation.upstreams.stats() if serving.generation else Snapshot(),
            build=build(),
            upstream_changes=dict(serving.refresher.changes),
            upstream_refreshes=dict(serving.refresher.refreshes),
            refused=len({(each.name, each.version) for each in self.refused}),
            scan_findings=severities(model.checked.artifact for model in self.models),
            close_reasons=close_reasons(self.server.listener) if self.server is not None else CloseReasonSnapshot(),
            reloads=serving.reloads.stats(),
            access_log=self._access_log.stats() if self._access_log is not None else None,
            samples_lost=self._sample_writer.lost if self._sample_writer is not None else 0,
            tls=self._acceptor.stats() if self._acceptor is not None else None,
            access=serving.checker.stats() if serving.checker is not None else None,
            shared=self._shared.stats() if self._shared is not None else None,
        )

    async def _start_http(self) -> HttpServer:
        from modelward.server import http  # noqa: PLC0415 - brings aiohttp; a worker's supervisor answers in its place
        from modelward.telemetry.exposition import Exposition  # noqa: PLC0415

        failing = lambda: stats.failing(self.region)  # noqa: E731
        state = http.AppState(lambda: self.catalog, self.readiness, Exposition(self.snapshot), failing)
        server = await http.HttpServer.start(self.config.listen.http, state)
        self.http_address = server.address
        return server

    async def _log_events(self, server: Server) -> None:
        while True:
            await asyncio.sleep(EVENTS_SECONDS)
            self.serving.take_anomalies()
            if self._acceptor is not None:
                self._acceptor.failures.take()
            self.serving.events.take(server, self.upstreams, self.serving.current.upstreams.panics())

    async def _pace_shadows(self, server: Server) -> None:
        """While the loop or the machine has no time to spare, nothing is mirrored."""
        pressure = Pressure()
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            if shadows := self.serving.current.shadows:
                server.pace(pressure.lacking(shadow.engine.thread_id for shadow in shadows))

    def _samples(self) -> list[Taken]:
        """What the data plane has kept, of shadows whose samples may be written down."""
        assert self.server is not None
        wanted = {shadow.key for shadow in self.serving.current.shadows if shadow.settings.samples}
        return [taken for taken in self.server.take_samples() if taken[:2] in wanted]


@contextlib.asynccontextmanager
async def running(
    config: Config,
    progress: Progress = lambda name: None,
    inherited: Inherited | None = None,
    shares: Shares | None = None,
    slow: frozenset[str] = frozenset(),
    *,
    contained: Sequence[Contained] = (),
    facts: Mapping[str, FactsByVersion] | None = None,
    approved: Approved | None = None,
    override: Override = NOTHING,
    opened: Callable[[Sequence[OpenVersion]], None] = lambda models: None,
) -> AsyncIterator[Application]:
    """A started application; stopped on leaving, whatever happens."""
    application = Application(
        config, inherited, shares, slow, contained, facts=facts, approved=approved, override=override, opened=opened
    )
    try:
        await application.start(progress)
        yield application
    finally:
        await application.stop()
