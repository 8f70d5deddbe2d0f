"""What a process serves: one generation after another, each taking over between two requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelward.config.changes import followed
from modelward.config.proxies import UNIX, networks
from modelward.config.schema import Config
from modelward.detect.policies import Patterns
from modelward.limits.overrides import Overrides
from modelward.limits.temporary import with_temporary
from modelward.models.approved import Approved
from modelward.models.catalog import Catalog
from modelward.models.facts import FactsByVersion
from modelward.models.inventory import Reads, read_here
from modelward.models.opening import OpenVersion, Progress
from modelward.models.weights import Shares
from modelward.problem import ProblemsFound
from modelward.repository.refused import Refused, problems_of
from modelward.server.canaries import Canaries
from modelward.server.canary_causes import CanaryCauses
from modelward.server.containment import Contained, apply, deadly
from modelward.server.event_log import EventLog
from modelward.server.generation import Generation, Known, compile_generation, describe, renewed, reshared
from modelward.server.listener_limits import apply_limits, limit_models
from modelward.server.override import NOTHING, Override
from modelward.server.reloads import Reloads
from modelward.server.retired import Retired
from modelward.server.rules import load_rules
from modelward.server.tls import LiveMaterial
from modelward.server.upstream_canaries import UpstreamCanaries
from modelward.tasks import Tasks
from modelward.upstream.endpoint_managers import EndpointManagers
from modelward.upstream.forwarder import ANSWER_SECONDS
from modelward.upstream.models import News, UpstreamModels
from modelward.upstream.refresh import Hints, Refresher
from modelward_native.backend.pool import Endpoint
from modelward_native.request.server import Server

if TYPE_CHECKING:
    from modelward.access.credential_checker import CredentialChecker

log = logging.getLogger("modelward.server")


class Serving:
    """Use `prepare`, then `begin`, then `connect`. config: as it is followed.

    shares, approved, contained and override: see `share`, `contain` and `follow_override`. changed: called when an
    upstream's change is served. judged: called when a canary has taken a version out of service, or brought it back.
    opened: called with every version that is open, before any that is new is served.
    """

    def __init__(
        self,
        config: Config,
        shares: Shares,
        contained: Sequence[Contained],
        tasks: Tasks,
        approved: Approved | None = None,
        *,
        override: Override = NOTHING,
    ) -> None:
        self.config = config
        self.shares = shares
        self.approved = approved
        self.reloads = Reloads()
        self.events = EventLog()
        self.retired = Retired()
        self.changed: Callable[[], None] = lambda: None
        self.judged: Callable[[], None] = lambda: None
        self.opened: Callable[[Sequence[OpenVersion]], None] = lambda models: None
        self.reads: Reads = read_here
        self.generation: Generation | None = None
        self.server: Server | None = None
        self.tls: LiveMaterial | None = None
        self.checker: CredentialChecker | None = None
        self.refresher = Refresher(
            lambda: self.current.upstreams, self._renew, self._hints, lambda: self.config.health, self._embedded
        )
        self._contained = contained
        self._override = override
        self._tasks = tasks
        self._managers: EndpointManagers | None = None
        self._reloading = asyncio.Lock()
        self._ruling = asyncio.Lock()
        self._canaries = Canaries(self._follow_canaries)
        self._canaries.deadly = deadly(contained)
        self._upstream_canaries = UpstreamCanaries(self._follow_canaries)

    @property
    def current(self) -> Generation:
        assert self.generation is not None
        return self.generation

    @property
    def models(self) -> tuple[OpenVersion, ...]:
        """Every version that is served."""
        return self.generation.models if self.generation else ()

    @property
    def refused(self) -> tuple[Refused, ...]:
        """What the repository holds and cannot be served."""
        return self.generation.refused if self.generation else ()

    @property
    def catalog(self) -> Catalog:
        return self.generation.catalog if self.generation else Catalog(())

    @property
    def endpoints(self) -> list[Endpoint]:
        """Of every pool."""
        pools = self.generation.upstreams.pools if self.generation else []
        return [m.endpoint for p in pools for g in p.groups for m in g.members]

    # ---- the first generation

    async def prepare(
        self,
        slow: frozenset[str],
        facts: Mapping[str, FactsByVersion],
        progress: Progress,
        waiting: Callable[[str], None],
    ) -> Generation:
        """Opens and warms all models. slow, facts: as in Known. Raises ProblemsFound."""
        rules = await load_rules(self.config)
        known = Known(slow, self.shares, facts, deadly(self._contained), self.approved, self.reads)
        compiled = await compile_generation(rules, self.config, progress=progress, waiting=waiting, known=known)
        if rules.material is not None and self.config.tls is not None:
            self.tls = LiveMaterial(self.config.tls, rules.material)
        return self._shared_out(compiled)

    def begin(self, server: Server, first: Generation) -> None:
        """server: has the directory of the first generation, and has not started."""
        self.server = server
        if self.config.access is not None:
            from modelward.access.credential_checker import CredentialChecker  # noqa: PLC0415 - brings PyJWT and aiohttp: only where callers are told apart

            self.checker = CredentialChecker(self.config.access, server.listener)
            server.guard(self.checker.native)
        self._managers = EndpointManagers(server.listener)
        self.opened(first.models)
        self._serve(first)

    async def connect(self) -> None:
        """The server has started: connects upstreams, and does from now on what goes on beside requests."""
        assert self._managers is not None and self.server is not None
        await self._managers.connect(self.current.upstreams.pools, self.config.health)
        await self._prove(self.current)
        if self.checker is not None:
            await self.checker.prepare()
            for task in self.checker.tasks():
                self._tasks.spawn(task)
        if self.tls is not None:
            self._tasks.spawn(self.tls.watch(self.checker.native.dismiss if self.checker is not None else lambda: None))
        self._tasks.spawn(self.retired.run(lambda: self.current, self.server.scheduler))
        self._tasks.spawn(self.refresher.run())

    # ---- the next ones

    async def reload(self, config: Config) -> list[str]:
        """Serves another configuration, and the repository as it is now; returns in words what changed.

        Rules first, at once (`follow_rules`), then models (`follow_models`): whatever keeps these from being served
        keeps no rule from being followed. What only a restart changes (listen, workers, TLS on or off) stays, and is
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
            before = self.current
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
            before = self.current
            after = self._shared_out(after.under(before.rules))
            self.opened(after.models)
            self._serve(after)
            self._tasks.spawn(_close_later(before.upstreams, after.upstreams))
            self.retired.add(before.served)
        changed = describe(before, after)
        self.reloads.apply(changed, restart, problems_of(after.refused))
        return changed

    def share(self, shares: Shares, approved: Approved | None) -> None:
        """From the next message on these models' requests are shared among their versions like this, reloads or not.

        approved: versions that may answer, where promotions need approvals."""
        self.shares, self.approved = shares, approved
        before, after = self.current, self._shared_out(self.current)
        self._serve(after)
        self.retired.add(model.served for model in before.asked)

    def contain(self, contained: Sequence[Contained]) -> None:
        """From now on these inputs of models are not run, reloads or not; what was said before is forgotten."""
        self._contained = contained
        self._canaries.deadly = deadly(contained)
        self.share(self.shares, self.approved)  # a version that is not run at all leaves its share to others

    def follow_override(self, override: Override) -> None:
        """From the next message on these limits hold in place of the configured ones, and these breakers are held open
        or closed, reloads or not."""
        self._override = override
        self._serve(self.current)

    def stop(self) -> None:
        """Before the server stops."""
        self._canaries.stop()
        self._upstream_canaries.stop()
        if self._managers is not None:
            self._managers.close()

    async def close(self) -> None:
        """After the server has stopped."""
        if self.generation is not None:
            await self.generation.upstreams.close()

    @property
    def canary_causes(self) -> CanaryCauses:
        upstreams, versions = self._upstream_canaries.causes
        return CanaryCauses({**versions, **self._canaries.causes}, upstreams)

    def take_anomalies(self) -> None:
        """Fetches the data plane's anomaly events and logs them."""
        if self.server is not None:
            self.events.take_anomalies(self.server, self.models)

    async def _renew(self, upstreams: UpstreamModels, news: News) -> bool:
        """Serves what upstreams tell now; False where a reload came between. Requests that are under way end as they
        began. Raises ProblemsFound, and then everything is as it was."""
        assert self._managers is not None
        async with self._reloading:
            before = self.current
            if before.upstreams is not upstreams:
                return False
            after = await renewed(before, news)
            await self._managers.connect(after.upstreams.pools, self.config.health)
            await self._prove(after)
            after = self._shared_out(after.under(self.current.rules))
            self._serve(after)
            self._tasks.spawn(_close_later(before.upstreams, after.upstreams))
            self.retired.add(model.served for model in before.asked)
        self.changed()
        return True

    def _hints(self) -> Hints:
        """What refusals and connections say of changes on upstreams."""
        assert self.server is not None
        stale = {m.served.name for m in self.models if m.upstreams and m.served.take_signature_stale()}
        return Hints(stale, self.server.take_unlisted(), sum(endpoint.joins for endpoint in self.endpoints))

    def _embedded(self) -> set[str]:
        return {model.served.name for model in self.models if not model.upstreams}

    def _shared_out(self, generation: Generation) -> Generation:
        """With the shares that were told, and what is contained."""
        apply(self._contained, {served.engine for served in generation.served})
        self._upstream_canaries.mark(generation.models)
        return reshared(generation, self.shares, self.approved)

    async def _prove(self, generation: Generation) -> None:
        """Upstreams of models with a canary get requests once they have passed it."""
        shared, pools = self._shared_out(generation), generation.upstreams.canaried()
        await self._upstream_canaries.prove(shared.models, pools, shared.named)

    def _follow_canaries(self) -> None:
        """A version has gone out of service, or come back: others have its share. What it answered may be wrong."""
        for model in self.models:
            if model.engine.failing and model.last_good is not None:
                model.last_good.forget()
        self.share(self.shares, self.approved)
        self.judged()

    async def _compile_next(self, config: Config) -> tuple[Generation, list[str]]:
        """The next generation, whose upstreams are connected, and the keys that need a restart."""
        assert self._managers is not None
        wanted, restart = followed(self.config, config)
        dying = deadly(self._contained)
        known = Known(held=self.shares, deadly=dying, approved=self.approved, reads=self.reads)
        after = await compile_generation(self.current.rules, wanted, self.current, known=known)
        await self._managers.connect(after.upstreams.pools, wanted.health)
        await self._prove(after)
        return after, restart

    def _serve(self, generation: Generation) -> None:
        """The swap: between two requests, and nothing in it can fail or wait."""
        assert self.server is not None and self._managers is not None
        self.take_anomalies()  # events name models of the generation before
        config, server = generation.config, self.server
        limits = with_temporary(config.limits, self._override.limits)
        overrides = Overrides(limits)
        apply_limits(config.model_copy(update={"limits": limits}), overrides, server)
        limit_models(generation.asked, self._override.limits)
        server.listener.set_proxies(networks(config.trusted_proxies), UNIX in config.trusted_proxies)
        if self.checker is not None and config.access is not None:
            self.checker.follow(config.access, generation.rules.key_ring)
            self.checker.native.identities.set_shares(overrides.share)
            self.checker.native.identities.set_patterns(Patterns(config).bits)
        overridden = generation.upstreams.overridden(self._override.breakers)
        self._managers.follow(generation.upstreams.pools, config.health, config.breaker, overridden)
        server.serve(generation.directory, generation.upstreams.passthrough())
        server.learn(self.refresher.wants if generation.upstreams.learns else None)
        if self.tls is not None and config.tls is not None and generation.rules.material is not None:
            self.tls.replace(config.tls, generation.rules.material)
        self.config = config
        self.generation = generation
        self._canaries.follow([model for model in generation.models if not model.upstreams])
        self._upstream_canaries.follow(generation.models, generation.upstreams.canaried(), generation.named)


async def _close_later(before: UpstreamModels, after: UpstreamModels) -> None:
    """Questions to upstreams that are under way may still be answered."""
    try:
        await asyncio.sleep(ANSWER_SECONDS)
    finally:
        await before.close(after)
