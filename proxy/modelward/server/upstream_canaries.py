"""Canaries held against upstreams: each endpoint of a model that has one is asked, and judged by its answer.

An endpoint is judged for this model alone, whose connections are its own. On a new connection it gets requests once it
has passed; who answers there may be another than before. Then it is asked again at an interval.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct, field

from modelward.config.units import SECOND
from modelward.models.canary import Canary, without_values
from modelward.models.opening import OpenVersion
from modelward.problem import Problem, ProblemsFound
from modelward.tasks import Tasks
from modelward.tensors import TensorSpec
from modelward.upstream.canary import Unjudged, ask
from modelward.upstream.group import Member
from modelward.upstream.upstream_pool import UpstreamPool
from modelward_native.backend.engine import Engine
from modelward_native.backend.pool import Endpoint

log = logging.getLogger("modelward.canary")

RETRY_SECONDS = 10.0  # of one that answers otherwise
UNJUDGED_SECONDS = 1.0  # of one that does not answer, and so gets no requests
PROVE_SECONDS = 5.0  # that a start or a reload waits for answers
LOOK_SECONDS = 1.0  # between two looks at what is connected
NEVER = float("inf")
LONGEST_CAUSE = 1000  # characters: a server decides how many outputs have which names
MEND = "Find out what answers there. If it is right, record it again: modelward canary record MODEL --url"


class Watch(Struct, eq=False):
    """One model's. version: that is asked; empty where upstreams decide it. due: when each endpoint is asked next.
    failing: no endpoint passes, and one answers otherwise."""

    name: str
    canary: Canary
    inputs: tuple[TensorSpec, ...]
    seconds: float | None
    pool: UpstreamPool
    engines: Sequence[Engine]
    version: str = ""
    due: dict[Endpoint, float] = field(default_factory=dict)
    told: dict[Endpoint, str] = field(default_factory=dict)  # why, where that was logged
    why: dict[Endpoint, str] = field(default_factory=dict)  # those that answer otherwise
    failing: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def members(self) -> list[Member]:
        return [member for group in self.pool.groups for member in group.members]

    @property
    def causes(self) -> dict[str, str]:
        """Why endpoints fail, by the address that is configured."""
        found: dict[str, list[str]] = {}
        for group in self.pool.groups:
            for member in group.members:
                if member.endpoint.fails_canary and (why := self.why.get(member.endpoint)):
                    address = str(member.endpoint.address)
                    own = "" if address == group.address.text else f"{address}: "
                    found.setdefault(group.address.text, []).append(f"{own}{why}")
        return {address: "; ".join(whys) for address, whys in found.items()}

    def is_like(self, other: Watch) -> bool:
        return (self.canary.digest, self.inputs, self.seconds, self.pool, self.version) == (
            other.canary.digest,
            other.inputs,
            other.seconds,
            other.pool,
            other.version,
        )


class UpstreamCanaries:
    """Of one process, on its loop. changed: called when a model has gone out of service or come back."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._watches: dict[str, Watch] = {}
        self._running: dict[Watch, asyncio.Task[None]] = {}
        self._tasks = Tasks()

    def follow(
        self, models: Sequence[OpenVersion], pools: Mapping[str, UpstreamPool], named: Mapping[str, str]
    ) -> None:
        """From now on the canaries of these models; pools: theirs (UpstreamModels.canaried). named: by model the
        version that is asked, where upstreams do not decide it."""
        wanted = watches(models, pools, named)
        for name, watch in wanted.items():
            before = self._watches.get(name)
            if before is not None and before.is_like(watch):
                before.engines = watch.engines
                wanted[name] = before
            else:
                self._running[watch] = self._tasks.spawn(self._watch(watch))
        for watch in [watch for watch in self._running if watch not in wanted.values()]:
            self._running.pop(watch).cancel()
        self._watches = wanted
        self.mark(models)

    def mark(self, models: Sequence[OpenVersion]) -> None:
        """Engines that are new are out of service where their model is."""
        for model in models:
            watch = self._watches.get(model.engine.name) if model.upstreams else None
            if model.upstreams:
                model.engine.failing = watch is not None and watch.failing

    async def prove(
        self, models: Sequence[OpenVersion], pools: Mapping[str, UpstreamPool], named: Mapping[str, str]
    ) -> None:
        """Asks endpoints that are connected and have not passed yet, before their models are served."""
        found = [self._watches.get(name, watch) for name, watch in watches(models, pools, named).items()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROVE_SECONDS):
                await asyncio.gather(*(self._ask_all(watch, unproven=True) for watch in found))

    @property
    def causes(self) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
        """Why upstreams fail, by address, and models, by name and version."""
        upstreams: dict[str, list[str]] = {}
        versions: dict[tuple[str, str], str] = {}
        for watch in self._watches.values():
            causes = watch.causes
            for address, why in causes.items():
                upstreams.setdefault(address, []).append(f"model {watch.name}: {why}")
            if watch.failing:
                words = "; ".join(f"upstream {address}: {why}" for address, why in causes.items())
                versions |= {(engine.name, engine.version): words for engine in watch.engines}
        return {address: "; ".join(whys)[:LONGEST_CAUSE] for address, whys in upstreams.items()}, versions

    def stop(self) -> None:
        self._tasks.cancel()
        self._watches = {}

    async def _watch(self, watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        while True:
            watch.woken.clear()
            try:
                await self._ask_all(watch)
            except Exception:
                log.exception("model %s: the canary could not be run on its upstreams", watch.name)
            for member in watch.members:
                member.endpoint.on_joined = partial(self._joined, watch, member.endpoint)
            due = min((watch.due.get(m.endpoint, 0.0) for m in watch.members if m.endpoint.connected), default=NEVER)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(due - loop.time(), 0.05), LOOK_SECONDS)):
                    await watch.woken.wait()

    def _joined(self, watch: Watch, endpoint: Endpoint) -> None:
        """It has a new connection."""
        watch.due[endpoint] = 0.0
        watch.woken.set()

    async def _ask_all(self, watch: Watch, *, unproven: bool = False) -> None:
        """Those whose turn it is, and those on new connections. unproven: these alone."""
        async with watch.asking:
            now = asyncio.get_running_loop().time()
            turns = []
            for member in watch.members:
                endpoint = member.endpoint
                fresh = not endpoint.passes_canary and not endpoint.fails_canary
                if endpoint.connected and (fresh or (not unproven and watch.due.get(endpoint, 0.0) <= now)):
                    turns.append(member)
            await asyncio.gather(*(self._ask(watch, member) for member in turns))
            for endpoint in watch.due.keys() - {member.endpoint for member in watch.members}:
                del watch.due[endpoint]
                watch.told.pop(endpoint, None)
                watch.why.pop(endpoint, None)
        self._settle(watch)

    async def _ask(self, watch: Watch, member: Member) -> None:
        endpoint, joins = member.endpoint, member.endpoint.joins
        try:
            why = await ask(member.address, watch.name, watch.canary, watch.inputs, watch.version)
        except (Unjudged, ProblemsFound) as reason:
            self._wait(watch, endpoint, str(reason))
            return
        if not endpoint.has_canary:  # not yet, or not any more
            return
        if endpoint.joins != joins:  # who has answered may be another than who answers now
            watch.due[endpoint] = 0.0
            return
        watch.engines[-1].count_canary(why is None)
        pause = watch.seconds if why is None else RETRY_SECONDS
        pause = min(pause, watch.seconds) if pause is not None and watch.seconds is not None else pause
        loop = asyncio.get_running_loop()
        watch.due[endpoint] = NEVER if pause is None else loop.time() + pause * random.uniform(0.8, 1.2)
        was = endpoint.fails_canary
        endpoint.passes_canary, endpoint.fails_canary = why is None, why is not None
        if why is None:
            watch.why.pop(endpoint, None)
        else:
            watch.why[endpoint] = without_values(why)
        if why is not None and not was:
            what = f"upstream {endpoint.address} fails the canary of model {watch.name} and gets none of its requests"
            log.error("%s", Problem(what, str(watch.canary.file), why, MEND))
        elif why is None and (was or endpoint in watch.told):
            log.warning("upstream %s passes the canary of model %s again", endpoint.address, watch.name)
        watch.told.pop(endpoint, None)

    def _wait(self, watch: Watch, endpoint: Endpoint, why: str) -> None:
        """It does not tell whether it is right: one that was stays so, on the same connection."""
        loop = asyncio.get_running_loop()
        pause = UNJUDGED_SECONDS if not endpoint.passes_canary else RETRY_SECONDS
        watch.due[endpoint] = loop.time() + pause
        if endpoint not in watch.told:
            gets = (
                "and gets its requests on" if endpoint.passes_canary else "and gets none of its requests until it does"
            )
            text = "upstream %s does not answer the canary of model %s, %s: %s"
            log.warning(text, endpoint.address, watch.name, gets, why)
        watch.told[endpoint] = why

    def _settle(self, watch: Watch) -> None:
        """Out of service is a model of which no endpoint passes and one answers otherwise."""
        connected = [member.endpoint for member in watch.members if member.endpoint.connected]
        if not connected or self._watches.get(watch.name) is not watch:
            return
        passes = any(endpoint.passes_canary for endpoint in connected)
        failing = not passes and any(endpoint.fails_canary for endpoint in connected)
        if failing == watch.failing:
            return
        watch.failing = failing
        for engine in watch.engines:
            engine.failing = failing
        if failing:
            causes = "; ".join(f"{address}: {why}" for address, why in watch.causes.items())[:LONGEST_CAUSE]
            log.error("model %s is out of service: no upstream passes its canary: %s", watch.name, causes)
        else:
            log.warning("model %s is back: an upstream passes its canary", watch.name)
        self._changed()


def watches(
    models: Sequence[OpenVersion], pools: Mapping[str, UpstreamPool], named: Mapping[str, str]
) -> dict[str, Watch]:
    """By model, of those that have a canary."""
    found = {}
    for name, pool in pools.items():
        versions = [model for model in models if model.engine.name == name and model.upstreams]
        checked = next((model.checked for model in reversed(versions) if model.checked.canary is not None), None)
        if checked is None or checked.canary is None:
            continue
        interval = checked.settings.canary.interval
        seconds = None if interval is None else interval / SECOND
        engines = [model.engine for model in versions]
        found[name] = Watch(name, checked.canary, checked.artifact.inputs, seconds, pool, engines, named.get(name, ""))
    return found
