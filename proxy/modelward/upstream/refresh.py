"""Notices changes on upstreams: asks again what they serve, on an interval and where something hints at a change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

from msgspec import Struct

from modelward.config.health import Health
from modelward.config.units import SECOND
from modelward.problem import ProblemsFound
from modelward.telemetry.logs import shown
from modelward.tensors import TensorSpec
from modelward.upstream.learning import Learning
from modelward.upstream.metadata import DescribedVersion
from modelward.upstream.models import PASSTHROUGH, News, UpstreamModels
from modelward.upstream.rediscovery import learn, survey

log = logging.getLogger("modelward.upstream")

POLL_SECONDS = 0.25
# After a question that a hint has led to, the next for the same model may come so soon: twice as late each time that it
# has found nothing, up to the interval. Clients make hints: they cannot make more questions than that.
FIRST_PAUSE = 2.0
# a question of a client about a model that is not known waits so long for an upstream's word
LEARN_SECONDS = 2.0
# models that hints may have asked for at once
HINTED_AT_ONCE = 8


class Hints(Struct, frozen=True):
    """Since they were last asked for. models: that refused a request which may have been right. unlisted: a model was
    asked for that is not served. joins: connections to upstreams that have ever become usable."""

    models: Collection[str]
    unlisted: bool
    joins: int


class _Pause(Struct):
    seconds: float
    until: float


class Refresher:
    """upstreams: of the present configuration. follow: serves what the news say, or raises ProblemsFound; False where
    the configuration has changed meanwhile. local: models that run here."""

    def __init__(
        self,
        upstreams: Callable[[], UpstreamModels],
        follow: Callable[[UpstreamModels, News], Awaitable[bool]],
        hints: Callable[[], Hints],
        health: Callable[[], Health],
        local: Callable[[], Collection[str]],
    ) -> None:
        self._upstreams = upstreams
        self._follow = follow
        self._hints = hints
        self._health = health
        self._local = local
        self._pauses: dict[str, _Pause] = {}
        self._waiting: set[str] = set()  # models that are asked for when their pause has ended
        self._refused: dict[object, object] = {}  # news that the configuration does not fit, told once
        self._learning = Learning()
        self.changes: Counter[str] = Counter()
        self.refreshes: Counter[str] = Counter()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        joins = self._hints().joins
        due = loop.time() + self._interval()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            hints, now = self._hints(), loop.time()
            self._waiting.update(hints.models, [PASSTHROUGH] if hints.unlisted else [])
            back, joins = hints.joins > joins, hints.joins
            for name in self._learning.next():
                await self._learn(name)
            if back:
                self._waiting.update(name for name, _ in self._upstreams().told)
            if now >= due:
                await self._refresh({name for name, _ in self._upstreams().told} | {PASSTHROUGH})
                due = loop.time() + self._interval()
            elif names := self._ripe(now):
                changed = await self._refresh(names)
                self._wait(names, loop.time(), changed=changed)

    def wants(self, name: bytes, peer: int) -> bool:
        """Whether upstreams are asked for a model that is not served. For request.pipeline.Server.learn."""
        try:
            text = name.decode()
        except UnicodeDecodeError:
            return False
        if any(each.name == text for each in self._upstreams().refused):
            return False
        return self._learning.wants(text, peer, asyncio.get_running_loop().time())

    async def known(self, name: str, peer: int) -> None:
        """Returns when it is known whether an upstream has the model, or soon is not. peer: key of who asks."""
        if not self._upstreams().learns or not self.wants(name.encode(), peer):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEARN_SECONDS):
                while self._learning.is_waiting(name):
                    await asyncio.sleep(POLL_SECONDS / 2)

    async def _learn(self, name: str) -> None:
        upstreams = self._upstreams()
        news, silent = await learn(upstreams, name)
        found = news is not None and await self._take(upstreams, news)
        self._learning.done(name, asyncio.get_running_loop().time(), found=found, silent=bool(silent))
        if found:
            self._note("added", f"model {shown(name)} was asked for, and an upstream has it")

    def _interval(self) -> float:
        # jittered: many workers and many servers do not ask in step
        return self._health().refresh / SECOND * random.uniform(0.8, 1.2)

    def _ripe(self, now: float) -> set[str]:
        """Of the models that hints tell of, those whose pause has ended."""
        known = {name for name, _ in self._upstreams().told}
        self._waiting &= known
        self._pauses = {name: pause for name, pause in self._pauses.items() if name in known}
        ripe = [n for n in self._waiting if n not in self._pauses or self._pauses[n].until <= now]
        return set(ripe[:HINTED_AT_ONCE])

    def _wait(self, names: Collection[str], now: float, *, changed: bool) -> None:
        longest = self._health().refresh / SECOND
        for name in names:
            pause = self._pauses.get(name)
            seconds = FIRST_PAUSE if changed or pause is None else min(2 * pause.seconds, longest)
            self._pauses[name] = _Pause(seconds, now + seconds)

    async def _refresh(self, names: set[str]) -> bool:
        """Whether anything has changed."""
        self._waiting -= names
        upstreams = self._upstreams()
        news, silent = await survey(upstreams, names, self._local(), listing=PASSTHROUGH in names)
        found = await self._take(upstreams, news)
        self.refreshes["changed" if found else "failed" if silent else "unchanged"] += 1
        return found

    async def _take(self, upstreams: UpstreamModels, news: News) -> bool:
        told = {key: value for key, value in news.told.items() if self._refused.get(key) != value}
        news = News(told, news.missing)
        if not told and news.missing == upstreams.missing:
            return False
        try:
            if not await self._follow(upstreams, news):
                return False  # a reload came between
        except ProblemsFound as found:
            return await self._take_one_by_one(upstreams, news, found)
        self._say(upstreams, news)
        return True

    async def _take_one_by_one(self, upstreams: UpstreamModels, news: News, found: ProblemsFound) -> bool:
        """What the configuration does not fit keeps nothing else from being followed."""
        if len(news.told) <= 1:
            for key, value in news.told.items():
                self._refused[key] = value
                self.changes["refused"] += 1
                for problem in found.problems:
                    log.error("model %s has changed on its upstream; it is served as before: %s", key[0], problem)
            return False
        taken = False
        for key, value in news.told.items():
            taken = await self._take(self._upstreams(), News({key: value}, self._upstreams().missing)) or taken
        return taken

    def _say(self, before: UpstreamModels, news: News) -> None:
        for (name, addresses), told in news.told.items():
            where = ", ".join(address.text for address in addresses)
            old = before.told.get((name, addresses))
            if name == PASSTHROUGH:
                assert old is not None  # a list is asked for again only where there is one
                for model in sorted(set(told) - set(old)):
                    self._note("added", f"model {model} is new on upstream {where}")
                for model in sorted(set(old) - set(told)):
                    self._note("removed", f"model {model} is gone from upstream {where}")
            elif old is not None:
                kind, words = difference(old, told)
                self._note(kind, f"model {name} on upstream {where}: {words}")
        for name in sorted(news.missing - before.missing):
            self._note("unavailable", f"model {name} is not served by any of its upstreams now")
        for name in sorted(before.missing - news.missing):
            self._note("available", f"model {name} is served by an upstream again")

    def _note(self, kind: str, words: str) -> None:
        self.changes[kind] += 1
        log.warning("%s", words)


def difference(before: list[DescribedVersion], after: list[DescribedVersion]) -> tuple[str, str]:
    """("versions" or "signature", in words)."""
    old, new = ([each.version or "1" for each in models] for models in (before, after))
    if before[0].undecoded is None and after[0].undecoded is None and old != new:
        return "versions", f"versions {', '.join(new)}, before {', '.join(old)}"
    changed = next((pair for pair in zip(before, after, strict=False) if not pair[0].is_as(pair[1])), None)
    assert changed is not None
    return "signature", f"{_signature(changed[1])}, before {_signature(changed[0])}"


def _signature(model: DescribedVersion) -> str:
    if model.undecoded is not None:
        return "no signature is known, requests pass undecoded"
    optional = model.optional
    inputs = ", ".join(_tensor(s) + (" optional" if s.name in optional else "") for s in model.inputs)
    return f"version {model.version or '1'} takes {inputs} and gives {', '.join(map(_tensor, model.outputs))}"


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name!r} {spec.datatype}{list(spec.shape)}"
