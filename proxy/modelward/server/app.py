"""One serving process: from configuration over open models to listeners, and down again without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modelward.config.changes import followed
from modelward.config.listen import Listen
from modelward.config.proxies import UNIX, networks
from modelward.config.schema import Config
from modelward.config.state_folder import state_folder
from modelward.config.units import SECOND
from modelward.limits.overrides import Overrides
from modelward.limits.shared import SharedLimits, fleet_key
from modelward.models.catalog import Catalog
from modelward.models.facts import FactsByVersion
from modelward.models.opening import OpenModel, Progress
from modelward.models.weights import Shares
from modelward.problem import ProblemsFound
from modelward.repository.refused import Refused, problems_of
from modelward.rpc.protocol import RpcError
from modelward.score.events import AnomalyLog
from modelward.server import descriptors, methods
from modelward.server.accept import Acceptor, Handshakes
from modelward.server.answering import Answering
from modelward.server.bind import BoundSocket, InheritedSocket
from modelward.server.canaries import Canaries
from modelward.server.containment import Contained, apply, deadly
from modelward.server.generation import (
    Generation,
    Known,
    close_engines,
    compile_generation,
    describe,
    in_use,
    renewed,
    reshared,
)
from modelward.server.health import prepared
from modelward.server.memory import KEPT_BYTES, Memory, give_back
from modelward.server.pressure import PERIOD_SECONDS, Pressure
from modelward.server.readiness import Readiness
from modelward.server.reloads import Reloads
from modelward.server.rules import load_rules
from modelward.server.sticky import sticky_key
from modelward.server.tls import LiveMaterial
from modelward.shadow.sample_writer import Keeping, Taken
from modelward.shadow.samples import FOLDER as SAMPLES
from modelward.telemetry.build import build
from modelward.telemetry.close_reasons import CloseReasonLog
from modelward.telemetry.merge import added
from modelward.telemetry.native_snapshot import close_reasons, snapshot
from modelward.telemetry.refusals import SECONDS, RefusalLog
from modelward.telemetry.shadow_drops import DropLog
from modelward.telemetry.snapshot import CloseReasonSnapshot, Snapshot
from modelward.upstream.faults import FaultLog
from modelward.upstream.fleet import Fleet
from modelward.upstream.forwarder import ANSWER_SECONDS
from modelward.upstream.panic import PanicLog
from modelward.upstream.refresh import Hints, Refresher
from modelward.upstream.remote import News, Remotes
from modelward_native.backend.pool import Endpoint
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.request.pipeline import Server
from modelward_native.request.served import Served
from modelward_native.shadow import shadows
from modelward_native.telemetry import figures
from modelward_native.timer.deadline import Wheel
from modelward_native.wire.call import Call

if TYPE_CHECKING:
    from modelward.access.gate import Gate
    from modelward.server.http import HttpServer

log = logging.getLogger("modelward.server")

BACKLOG = 4096
DRAIN_SECONDS = 20.0
DRAIN_POLL_SECONDS = 0.02
# A client's way to know that it should go elsewhere, and what it has sent before, take their time.
NOTICE_SECONDS = 0.5
GOODBYE_SECONDS = 1.0
EVENTS_SECONDS = 1.0
RELEASE_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Inherited:
    """What a worker has in common with other processes."""

    region: Region
    bound: InheritedSocket


class Application:
    """A server on the running loop, of one configuration after another. Use `running`, which starts and ends it.

    inherited: what a worker has from its supervisor, which then answers over HTTP as well. shares and contained: see
    `share` and `contain`. slow: hashes of files of models that are not tried again, since they took too long. facts: of
    versions that other workers serve.
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
    ) -> None:
        self.config = config
        self._contained = contained
        self._shares = shares or {}
        self.region = Region() if inherited is None else inherited.region
        if inherited is None:
            self.region.sticky_key = sticky_key(config, self.region.sticky_key)
        self.readiness = Readiness("loading models")
        self.answering = Answering(lambda: self.catalog, self.readiness)
        self._answering: asyncio.Task[None] | None = None
        self.server: Server | None = None
        self.grpc_address = config.listen.grpc
        self.http_address = config.listen.http
        self.tls: LiveMaterial | None = None
        self.gate: Gate | None = None
        self.anomalies = AnomalyLog()
        self.reloads = Reloads()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.changed: Callable[[], None] = lambda: None  # called when an upstream's change is served
        self._generation: Generation | None = None
        self._fleet: Fleet | None = None
        self._retired: list[Served] = []
        self._reloading = asyncio.Lock()
        self._ruling = asyncio.Lock()
        self._slow = slow
        self._facts = facts or {}
        self._http: HttpServer | None = None
        self._bound: BoundSocket | InheritedSocket | None = None if inherited is None else inherited.bound
        self._shared: SharedLimits | None = None
        self._listening: Acceptor | None = None
        self._wheel: Wheel | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.close_reasons = CloseReasonLog()
        self.faults = FaultLog()
        self.panics = PanicLog()
        self.refusals = RefusalLog()
        self.drops = DropLog()
        self._keeping: Keeping | None = None
        self._canaries = Canaries(self._follow_canaries)
        self._canaries.deadly = deadly(contained)
        self._refresher = Refresher(
            lambda: self._current.remotes, self._renew, self._hints, lambda: self.config.health, self._embedded
        )

    @property
    def listen(self) -> Listen:
        """Where it listens, with real ports; once it has started. The admin API is a supervisor's."""
        return Listen.model_validate({"grpc": self.grpc_address, "http": self.http_address, "admin": "off"})

    @property
    def models(self) -> tuple[OpenModel, ...]:
        """Every version that is served."""
        return self._generation.models if self._generation else ()

    @property
    def _current(self) -> Generation:
        assert self._generation is not None
        return self._generation

    @property
    def refused(self) -> tuple[Refused, ...]:
        """What the repository holds and cannot be served."""
        return self._generation.refused if self._generation else ()

    @property
    def shares(self) -> Shares:
        """See `share`."""
        return self._shares

    @property
    def catalog(self) -> Catalog:
        return self._generation.catalog if self._generation else Catalog(())

    async def start(self, progress: Progress = lambda name: None) -> None:
        """Answers probes at once and requests once every model is warm. Raises ProblemsFound."""
        self.loop = loop = asyncio.get_running_loop()
        if self._bound is None:
            self._http = await self._start_http()
            self._bound = BoundSocket(self.config.listen.grpc, self.config.listen.mode)
        self.grpc_address = self._bound.address

        def waiting(reason: str) -> None:
            self.readiness.set(False, reason)

        rules = await load_rules(self.config)
        known = Known(self._slow, self._shares, self._facts, deadly(self._contained))
        compiled = await compile_generation(rules, self.config, progress=progress, waiting=waiting, known=known)
        first = self._shared_out(compiled)
        if rules.material is not None and self.config.tls is not None:
            self.tls = LiveMaterial(self.config.tls, rules.material)
        self._wheel = Wheel(loop)
        limiter, shared = Limiter(region=self.region), self.config.limits.shared
        if shared is not None:
            limiter.share(fleet_key(shared))
            if self._http is not None:  # else it is the supervisor's
                self._shared = SharedLimits(shared, self.region)
                await self._shared.start()
        self.server = Server(self._wheel, limiter, first.directory, self.region)
        if self.config.access is not None:
            from modelward.access.gate import Gate  # noqa: PLC0415 - brings PyJWT and aiohttp: only where callers are told apart

            self.gate = Gate(self.config.access, self.server.listener)
            self.server.guard(self.gate.native)
        self._fleet = Fleet(self.server.listener)
        self._serve(first)
        dispatcher = methods.Dispatcher(methods.build(lambda: self.catalog, self.readiness, self._refresher.known))
        self.server.start(loop, _cold(dispatcher), dispatcher.kinds, dispatcher.streaming, dispatcher.client_streaming)
        set_probes = self.server.set_probes
        self.readiness.follow(lambda ready: set_probes(prepared(ready)))
        await self._fleet.connect(first.remotes.pools, self.config.health)
        if self.gate is not None:
            await self.gate.prepare()
            for task in self.gate.tasks():
                self._spawn(task)
        self._listening = self._listen(self._bound)
        self._spawn(self._log_events())
        self._spawn(self._release_retired())
        self._spawn(self._refresher.run())
        self._spawn(self._pace_shadows())
        samples = state_folder(self.config.state) / SAMPLES
        self._keeping = Keeping(self._samples, samples, self.region.slot, self.region.slots)
        self._spawn(self._keeping.run())
        if self.tls is not None:
            self._spawn(self.tls.watch(self.gate.native.dismiss if self.gate is not None else lambda: None))
        self.answering.begin()
        self._answering = self._spawn(self.answering.run())

    async def reload(self, config: Config) -> list[str]:
        """Serves another configuration, and the repository as it is now; returns in words what changed.

        Rules first, at once (`follow_rules`), then models (`follow_models`): whatever keeps these from being served
        keeps nobody from obeying the rules. What only a restart changes (listen, workers, TLS on or off) stays, and is
        told. Raises ProblemsFound; what was done before stays done.
        """
        restart = followed(self.config, config)[1]
        changed = [*await self.follow_rules(config), *await self.follow_models(config)]
        return [*changed, *(f"{key} needs a restart" for key in restart)]

    async def follow_rules(self, config: Config) -> list[str]:
        """From the next message on limits, access, TLS and all else that is not about models are those of `config`.

        Returns in words what changed. Raises ProblemsFound, and then everything is as it was.
        """
        async with self._ruling:
            try:
                rules = await load_rules(followed(self.config, config)[0])
            except ProblemsFound as found:
                self.reloads.refuse(found.problems)
                raise
            before = self._generation
            assert before is not None
            after = before.under(rules)
            self._serve(after)
        changed = describe(before, after)
        if changed:
            log.info("reloaded: %s", ", ".join(changed))
        return changed

    async def follow_models(self, config: Config) -> list[str]:
        """Serves the models of another configuration, and the repository as it is now, under the rules of now.

        Models that are new or differ are opened and warmed first, then the next message meets the new generation;
        whatever is under way ends as it began. A model that cannot be served stays as it was, or is left out: see
        `refused`. Returns in words what changed. Raises ProblemsFound, and then all models are as they were.
        """
        async with self._reloading:
            try:
                after, restart = await self._compile_next(config)
            except ProblemsFound as found:
                self.reloads.refuse(found.problems)
                raise
            before = self._generation
            assert before is not None
            after = self._shared_out(after.under(before.rules))
            self._serve(after)
            self._spawn(_close_later(before.remotes, after.remotes))
            self._retired += before.served
        changed = describe(before, after)
        self.reloads.apply(changed, restart, problems_of(after.refused))
        return changed

    def share(self, shares: Shares) -> None:
        """From the next message on these models' requests are shared among their versions like this, reloads or not."""
        assert self._generation is not None
        self._shares = shares
        before, after = self._generation, self._shared_out(self._generation)
        self._serve(after)
        self._retired += [model.served for model in before.models]

    async def _renew(self, remotes: Remotes, news: News) -> bool:
        """Serves what upstreams tell now; False where a reload came between. Requests that are under way end as they
        began. Raises ProblemsFound, and then everything is as it was."""
        assert self._fleet is not None
        async with self._reloading:
            before = self._current
            if before.remotes is not remotes:
                return False
            after = await renewed(before, news)
            await self._fleet.connect(after.remotes.pools, self.config.health)
            after = self._shared_out(after.under(self._current.rules))
            self._serve(after)
            self._spawn(_close_later(before.remotes, after.remotes))
            self._retired += [model.served for model in before.models]
        self.changed()
        return True

    def _hints(self) -> Hints:
        """What refusals and connections say of changes on upstreams."""
        assert self.server is not None
        doubted = {model.served.name for model in self.models if model.upstreams and model.served.take_doubt()}
        return Hints(doubted, self.server.take_unlisted(), sum(endpoint.joins for endpoint in self.upstreams))

    def _embedded(self) -> set[str]:
        return {model.served.name for model in self.models if not model.upstreams}

    def contain(self, contained: Sequence[Contained]) -> None:
        """From now on these inputs of models are not run, reloads or not; what was said before is forgotten."""
        self._contained = contained
        self._canaries.deadly = deadly(contained)
        self.share(self._shares)  # a version that is not run at all leaves its share to others

    def _shared_out(self, generation: Generation) -> Generation:
        """With the shares that were told, and what is contained."""
        apply(self._contained, {served.engine for served in generation.served})
        return reshared(generation, self._shares)

    def _follow_canaries(self) -> None:
        """A version has gone out of service, or come back: others have its share. What it answered may be wrong."""
        for model in self.models:
            if model.engine.failing and model.recall is not None:
                model.recall.forget()
        self.share(self._shares)

    async def _compile_next(self, config: Config) -> tuple[Generation, list[str]]:
        """The next generation, whose upstreams are connected, and the keys that need a restart."""
        assert self._generation is not None and self._fleet is not None
        wanted, restart = followed(self.config, config)
        known = Known(held=self._shares, deadly=deadly(self._contained))
        after = await compile_generation(self._generation.rules, wanted, self._generation, known=known)
        await self._fleet.connect(after.remotes.pools, wanted.health)
        return after, restart

    def _serve(self, generation: Generation) -> None:
        """The swap: between two requests, and nothing in it can fail or wait."""
        assert self.server is not None and self._fleet is not None
        self.collect_anomalies()  # events name models of the generation before
        config, server = generation.config, self.server
        overrides = Overrides(config.limits)
        _apply_limits(config, overrides, server)
        server.listener.set_proxies(networks(config.trusted_proxies), UNIX in config.trusted_proxies)
        if self.gate is not None and config.access is not None:
            self.gate.follow(config.access, generation.rules.key_ring)
            self.gate.native.identities.set_shares(overrides.share)
        self._fleet.follow(generation.remotes.pools, config.health, config.breaker)
        server.serve(generation.directory, generation.remotes.passthrough())
        server.learn(self._refresher.wants if generation.remotes.learns else None)
        if self.tls is not None and config.tls is not None and generation.rules.material is not None:
            self.tls.replace(config.tls, generation.rules.material)
        self.config = config
        self._generation = generation
        self._canaries.follow(generation.models)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _release_retired(self) -> None:
        """Lets go of models that no request refers to any more."""
        while True:
            await asyncio.sleep(RELEASE_POLL_SECONDS)
            if self._retired:
                await self._release()

    async def _release(self) -> None:
        assert self._generation is not None and self.server is not None
        used = in_use(self._generation, self._retired)
        engines = {served.engine for served in used}
        left = {s.engine for s in self._retired} - engines
        waiting = {engine for engine in left if not engine.idle}  # for the end of its tick
        self._retired = [s for s in self._retired if s in used or s.engine in waiting]
        for engine in left - waiting:
            self.server.scheduler.forget(engine)
            if engine.pool is None:
                log.info(
                    "model %s %s %s unloaded", engine.name, "shadow" if engine.background else "version", engine.version
                )
        await close_engines(left - waiting)

    def _listen(self, bound: BoundSocket | InheritedSocket) -> Acceptor:
        assert self.server is not None
        handshakes = None
        if self.tls is not None:
            handshakes = Handshakes(self.tls, self.config.limits.timeouts.handshake / SECOND, self.gate)
        acceptor = Acceptor(self.server.listener, bound.socket, self.region, handshakes)
        acceptor.start(BACKLOG)
        return acceptor

    async def drain(self, seconds: float = DRAIN_SECONDS, delay: float = 0) -> None:
        """Readiness off; after the delay no new connections, clients told to go elsewhere, requests finished."""
        if self._answering is not None:
            self._answering.cancel()
        self.readiness.set(False, "draining")
        await asyncio.sleep(delay)
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
        return self._listening is not None and self._listening.shaking_hands

    async def stop(self) -> None:
        """Ends everything at once."""
        self.readiness.set(False, "stopped")
        for task in list(self._tasks):
            task.cancel()
        self._canaries.stop()
        if self._listening is not None:
            self._listening.close()
            self._listening.abandon()
        if self._fleet is not None:
            self._fleet.close()
        if self.server is not None:
            self.server.stop()
        if self._generation is not None:
            await self._generation.remotes.close()
        if self._wheel is not None:
            self._wheel.close()
        if self._shared is not None:
            await self._shared.stop()
        if self._http is not None:
            await self._http.stop()
        if self._bound is not None:
            self._bound.close()

    @property
    def upstreams(self) -> list[Endpoint]:
        """Every endpoint of every pool."""
        pools = self._generation.remotes.pools if self._generation else []
        return [m.endpoint for p in pools for g in p.groups for m in g.members]

    def snapshot(self) -> Snapshot:
        """All counters at this moment."""
        return added(snapshot(self.region), replace(self.cold(), shares=self.catalog.shares))

    def cold(self) -> Snapshot:
        """What is counted elsewhere than in the region: by reloads, upstreams, connections, TLS and access."""
        return replace(
            self._generation.remotes.figures() if self._generation else Snapshot(),
            build=build(),
            upstream_changes=dict(self._refresher.changes),
            upstream_refreshes=dict(self._refresher.refreshes),
            refused=len({(each.name, each.version) for each in self.refused}),
            close_reasons=close_reasons(self.server.listener) if self.server is not None else CloseReasonSnapshot(),
            reloads=self.reloads.figures(),
            samples_lost=self._keeping.lost if self._keeping is not None else 0,
            tls=self._listening.figures() if self._listening is not None else None,
            access=self.gate.figures() if self.gate is not None else None,
            shared=self._shared.figures() if self._shared is not None else None,
        )

    async def _start_http(self) -> HttpServer:
        from modelward.server import http  # noqa: PLC0415 - brings aiohttp; a worker's supervisor answers in its place
        from modelward.telemetry.exposition import Exposition  # noqa: PLC0415

        failing = lambda: figures.failing(self.region)  # noqa: E731
        state = http.AppState(lambda: self.catalog, self.readiness, Exposition(self.snapshot), failing)
        server = await http.HttpServer.start(self.config.listen.http, state)
        self.http_address = server.address
        return server

    async def _log_events(self) -> None:
        summed = 0.0
        memory = Memory()
        while True:
            await asyncio.sleep(EVENTS_SECONDS)
            server = self.server
            if server is not None and (kept := memory.kept(server.totals()["inflight_bytes"])) > KEPT_BYTES:
                await give_back(kept)
                memory.given_back(server.totals()["inflight_bytes"])
            self.collect_anomalies()
            if self.server is not None:
                self.close_reasons.take(self.server.listener.close_reasons())
            self.faults.take(self.upstreams, time.monotonic())
            self.panics.take(self._generation.remotes.panics() if self._generation else {})
            if self._http is not None and time.monotonic() >= summed + SECONDS:  # else the supervisor sums up
                summed = time.monotonic()
                self.refusals.take(figures.models(self.region))
                self.drops.take(shadows.totals(self.region))

    async def _pace_shadows(self) -> None:
        """While the loop or the machine has no time to spare, nothing is mirrored."""
        assert self.server is not None
        pressure = Pressure()
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            if self._generation is not None and self._generation.shadows:
                self.server.pace(pressure.lacking(shadow.engine.thread_id for shadow in self._generation.shadows))

    def _samples(self) -> list[Taken]:
        """What the data plane has kept, of shadows whose samples may be written down."""
        assert self.server is not None and self._generation is not None
        wanted = {shadow.key for shadow in self._generation.shadows if shadow.settings.samples}
        return [taken for taken in self.server.take_samples() if taken[:2] in wanted]

    def collect_anomalies(self) -> None:
        """Fetches the data plane's anomaly events and logs them."""
        if self.server is None:
            return
        self.anomalies.take(self.server.events.fetch(), {model.key: model.profile for model in self.models})
        for model in self.models:
            self.anomalies.failures(model.engine)


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
) -> AsyncIterator[Application]:
    """A started application; stopped on leaving, whatever happens."""
    application = Application(config, inherited, shares, slow, contained, facts=facts)
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


async def _close_later(before: Remotes, after: Remotes) -> None:
    """Questions to upstreams that are under way may still be answered."""
    try:
        await asyncio.sleep(ANSWER_SECONDS)
    finally:
        await before.close(after)


def _apply_limits(config: Config, overrides: Overrides, server: Server) -> None:
    """Rates keep what is owed. Connections that are open keep their number of streams."""
    limits = config.limits
    limiter, listener = server.listener.limiter, server.listener
    for limit, set_rate in (
        (limits.peer, limiter.set_peer),
        (limits.identity, limiter.set_identity),
        (limits.total, limiter.set_total),
    ):
        set_rate(*limit.native) if limit is not None else set_rate(0, 1)
    limiter.set_overrides(overrides.native)
    server.set_priorities(*overrides.priority)
    listener.set_limited(overrides.networks)
    room = descriptors.room(config, descriptors.limit_of_now())
    listener.max_connections, listener.max_per_peer, listener.max_here = room.total, room.per_peer, room.here
    listener.set_ipv6(limits.ipv6.prefix, limits.ipv6.peers)
    listener.set_arrivals(limits.connections.rate_per_peer)
    listener.set_sizes(limits.message_size, limits.inflight_bytes, limits.streams, limits.inflight_share)
    times = limits.timeouts
    listener.set_timeouts(times.handshake, times.request, times.idle_stream, times.idle_connection, times.stalled)


def _cold(dispatcher: methods.Dispatcher) -> Callable[[Call], object]:
    async def answer(call: Call) -> None:
        try:
            await dispatcher.dispatch(call.path, call, call, call.send)
        except RpcError as error:
            call.finish(int(error.code), error.message, error.reason)
        else:
            call.finish(0)

    return answer
