"""One serving process: from configuration over open models to listeners, and down again without losing a request."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from aiohttp import web

from native.call import Call
from native.deadline import Wheel
from native.limit import Limiter
from native.pipeline import Server
from native.pool import Endpoint
from native.region import Region
from proxy.access import examine as access
from proxy.access.gate import Gate
from proxy.config.proxies import UNIX, networks
from proxy.config.schema import Config
from proxy.config.units import SECOND
from proxy.models.catalog import Catalog, ServedVersion
from proxy.models.inventory import take_inventory
from proxy.models.opening import OpenModel, by_name, open_models, tie_ladders
from proxy.models.signature import TensorSpec
from proxy.problem import ProblemsFound
from proxy.route.connector import CONNECT_SECONDS
from proxy.route.elsewhere import Elsewhere
from proxy.route.keeper import Keeper
from proxy.route.remote import Remotes
from proxy.score import Profile
from proxy.server import http, methods
from proxy.server.accept import TlsAcceptor
from proxy.server.bind import BoundSocket, InheritedSocket, cannot_listen
from proxy.server.protocol import RpcError
from proxy.server.readiness import Readiness
from proxy.server.tls import LiveMaterial
from proxy.telemetry.events import AnomalyLog
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.merge import added
from proxy.telemetry.partings import PartingLog
from proxy.telemetry.pour import partings, snapshot, statistics
from proxy.telemetry.snapshot import PartingSnapshot, Snapshot

log = logging.getLogger(__name__)

BACKLOG = 4096
DRAIN_SECONDS = 20.0
DRAIN_POLL_SECONDS = 0.02
# A client's way to know that it should go elsewhere, and what it has sent before, take their time.
NOTICE_SECONDS = 0.25
GOODBYE_SECONDS = 1.0
EVENTS_SECONDS = 1.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Inherited:
    """What a worker has in common with other processes."""

    region: Region
    bound: InheritedSocket


class Application:
    """A server of one configuration on the running loop. Use `running`, which starts and ends it.

    inherited: what a worker has from its supervisor, which then answers over HTTP as well.
    """

    def __init__(self, config: Config, inherited: Inherited | None = None) -> None:
        self.config = config
        self.region = Region() if inherited is None else inherited.region
        self.models: list[OpenModel] = []
        self.catalog = Catalog(())
        self.readiness = Readiness("loading models")
        self.server: Server | None = None
        self.grpc_address = config.listen.grpc
        self.http_address = config.listen.http
        self._http: web.ServerRunner | None = None
        self.tls: LiveMaterial | None = None
        self.gate: Gate | None = None
        self._bound: BoundSocket | InheritedSocket | None = None if inherited is None else inherited.bound
        self._listening: asyncio.Server | TlsAcceptor | None = None
        self._wheel: Wheel | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.anomalies = AnomalyLog()
        self.partings = PartingLog()
        self._remotes = Remotes(config, waiting=lambda reason: self.readiness.set(False, reason))
        self._keepers: list[Keeper] = []

    async def start(self, progress: Progress = lambda name: None) -> None:
        """Answers probes at once and requests once every model is warm. Raises ProblemsFound."""
        loop = asyncio.get_running_loop()
        if self._bound is None:
            self._http = await self._start_http()
            self._bound = BoundSocket(self.config.listen.grpc, self.config.listen.mode)
        self.grpc_address = self._bound.address
        if self.config.tls is not None:
            self.tls = LiveMaterial(self.config.tls)
        embedded = await loop.run_in_executor(None, self._load, progress)
        self.models = [*embedded, *await self._remotes.open()]
        tie_ladders(self.models)
        for model in self.models:
            if model.checked.undecoded is not None:
                log.warning("%s", model.checked.undecoded)
        self._build(loop)
        await self._connect()
        if self.gate is not None:
            await self.gate.prepare()
            self._tasks += [loop.create_task(task) for task in self.gate.tasks()]
        self._listening = await self._listen(self._bound)
        self._tasks += [loop.create_task(self._log_events()), loop.create_task(self._remotes.watch())]
        if self.tls is not None:
            changed = self.gate.native.dismiss if self.gate is not None else lambda: None
            self._tasks.append(loop.create_task(self.tls.watch(changed)))
        self.readiness.set(True)

    async def _listen(self, bound: BoundSocket | InheritedSocket) -> asyncio.Server | TlsAcceptor:
        assert self.server is not None
        loop = asyncio.get_running_loop()
        listener = self.server.listener
        if self.tls is not None:
            acceptor = TlsAcceptor(
                listener, bound.socket, self.tls, self.config.limits.timeouts.handshake / SECOND, self.gate
            )
            acceptor.start(BACKLOG)
            return acceptor
        if bound.address.is_unix:
            return await loop.create_unix_server(listener, sock=bound.socket, backlog=BACKLOG)
        return await loop.create_server(listener, sock=bound.socket, backlog=BACKLOG)

    async def _connect(self) -> None:
        """Connects every upstream; one that cannot be reached at once is tried on."""
        assert self.server is not None
        listener, health = self.server.listener, self.config.health
        self._keepers = [Keeper(listener, p.pool, p.groups, health) for p in self._remotes.pools]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.gather(*(keeper.tried() for keeper in self._keepers))

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Readiness off, no new connections, clients told to go elsewhere, what is under way finished."""
        self.readiness.set(False, "draining")
        if self._listening is not None:
            self._listening.close()
        if self.server is None:
            return
        # those who watch health are told before the connection that tells them is
        await asyncio.sleep(DRAIN_POLL_SECONDS)
        self.server.warn()
        if self.server.listener.connections:
            await asyncio.sleep(NOTICE_SECONDS)
        self.server.drain()
        if not await _within(seconds, lambda: self._shaking_hands() or self._busy()):
            log.warning("drain: requests were still under way after %.0f s", seconds)
        # a client closes when it has read everything; one that does not is not waited for
        await _within(GOODBYE_SECONDS, self._connected)

    def _busy(self) -> bool:
        return self.server is not None and self.server.busy

    def _connected(self) -> bool:
        return self.server is not None and bool(self.server.listener.connections)

    def _shaking_hands(self) -> bool:
        return isinstance(self._listening, TlsAcceptor) and self._listening.shaking_hands

    async def stop(self) -> None:
        """Ends everything at once."""
        self.readiness.set(False, "stopped")
        for task in self._tasks:
            task.cancel()
        if self._listening is not None:
            self._listening.close()
        if isinstance(self._listening, TlsAcceptor):
            self._listening.abandon()
        for keeper in self._keepers:
            keeper.close()
        if self.server is not None:
            self.server.stop()
        await self._remotes.close()
        if self._wheel is not None:
            self._wheel.close()
        if self._http is not None:
            await http.stop(self._http)
        if self._bound is not None:
            self._bound.close()

    @property
    def upstreams(self) -> list[Endpoint]:
        """Every endpoint of every pool."""
        return [m.endpoint for p in self._remotes.pools for g in p.groups for m in g.members]

    def snapshot(self) -> Snapshot:
        """All counters at this moment."""
        return added(snapshot(self.region), self.cold())

    def cold(self) -> Snapshot:
        """What is counted elsewhere than in the region: the figures of upstreams, connections, TLS and access."""
        return replace(
            self._remotes.figures(),
            partings=partings(self.server.listener) if self.server is not None else PartingSnapshot(),
            tls=self._listening.figures() if isinstance(self._listening, TlsAcceptor) else None,
            access=self.gate.figures() if self.gate is not None else None,
        )

    def _load(self, progress: Progress) -> list[OpenModel]:
        inventory = take_inventory(self.config)
        if inventory.problems:
            raise ProblemsFound(inventory.problems)
        for note in inventory.notes:
            log.warning("%s", note)
        return open_models(self.config, inventory, progress)

    def _build(self, loop: asyncio.AbstractEventLoop) -> None:
        limits = self.config.limits
        limiter = Limiter(region=self.region)
        for limit, set_rate in (
            (limits.peer, limiter.set_peer),
            (limits.identity, limiter.set_identity),
            (limits.total, limiter.set_total),
        ):
            if limit is not None:
                set_rate(limit.rate, limit.burst)
        self._wheel = Wheel(loop)
        self.server = Server(self._wheel, limiter, by_name(self.models), self.region)
        self.server.passthrough = self._remotes.passthrough()
        listener = self.server.listener
        listener.set_proxies(networks(self.config.trusted_proxies), UNIX in self.config.trusted_proxies)
        listener.max_connections = limits.connections.total
        listener.max_per_peer = limits.connections.per_peer
        listener.set_arrivals(limits.connections.rate_per_peer)
        listener.set_sizes(limits.message_size, limits.inflight_bytes, limits.streams)
        times = limits.timeouts
        listener.set_timeouts(times.handshake, times.request, times.idle_stream, times.idle_connection, times.stalled)
        self.catalog = Catalog(_version(model, self._remotes.elsewhere) for model in self.models)
        self.server.directory.explain = self.catalog.explain_unknown
        dispatcher = methods.Dispatcher(methods.build(self.catalog, self.readiness))
        if self.config.access is not None:
            self.gate = Gate(self.config.access, listener)
            for note in access.notes(self.config, [*self.catalog.names]):
                log.warning("%s", note)
            self.server.guard(self.gate.native)
        self.server.start(loop, _cold(dispatcher), dispatcher.kinds)

    async def _start_http(self) -> web.ServerRunner:
        state = http.AppState(lambda: self.catalog, self.readiness, Exposition(self.snapshot))
        try:
            runner = await http.start(self.config.listen.http, state)
        except OSError as error:
            raise ProblemsFound([cannot_listen(self.config.listen.http, "listen.http", error)]) from error
        self.http_address = http.bound_address(runner)
        return runner

    async def _log_events(self) -> None:
        profiles = {(m.served.name, m.served.version): m.profile for m in self.models}
        while True:
            await asyncio.sleep(EVENTS_SECONDS)
            self.collect_anomalies(profiles)
            if self.server is not None:
                self.partings.take(self.server.listener.partings())

    def collect_anomalies(self, profiles: dict[tuple[str, str], Profile | None] | None = None) -> None:
        """Fetches the data plane's anomaly events and logs them."""
        if self.server is None:
            return
        profiles = profiles or {(m.served.name, m.served.version): m.profile for m in self.models}
        self.anomalies.take(self.server.events.fetch(), profiles)
        for model in self.models:
            self.anomalies.failures(model.served)


@contextlib.asynccontextmanager
async def running(
    config: Config, progress: Progress = lambda name: None, inherited: Inherited | None = None
) -> AsyncIterator[Application]:
    """A started application; stopped on leaving, whatever happens."""
    application = Application(config, inherited)
    try:
        await application.start(progress)
        yield application
    finally:
        await application.stop()


async def _within(seconds: float, lasts: Callable[[], bool]) -> bool:
    """Whether it has ended within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while lasts():
                await asyncio.sleep(DRAIN_POLL_SECONDS)
    return not lasts()


def _version(model: OpenModel, elsewhere: dict[str, Elsewhere]) -> ServedVersion:
    served, artifact = model.served, model.checked.artifact
    asked = elsewhere.get(served.name)
    return ServedVersion(
        name=served.name,
        version=served.version,
        inputs=_specs(served.inputs, artifact.inputs),
        outputs=_specs(served.outputs, artifact.outputs),
        statistics=lambda: statistics(served),
        batchable=served.batchable,
        max_batch=model.checked.settings.batching.max,
        ready=True,
        platform=model.platform,
        backend=model.backend,
        config=model.config,
        elsewhere=asked.ask if asked is not None else None,
    )


def _specs(seen: list[tuple[str, str, tuple[int, ...]]], declared: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """What ONNX Runtime sees, with the axis names of the file."""
    symbols = {spec.name: spec.symbols for spec in declared}
    return tuple(
        TensorSpec(name, datatype, shape, symbols.get(name, (None,) * len(shape))) for name, datatype, shape in seen
    )


def _cold(dispatcher: methods.Dispatcher) -> Callable[[Call], object]:
    async def answer(call: Call) -> None:
        try:
            await dispatcher.dispatch(call.path, call, call, call.send)
        except RpcError as error:
            call.finish(int(error.code), error.message, error.reason)
        else:
            call.finish(0)

    return answer
