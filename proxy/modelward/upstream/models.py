"""Models that upstream servers run, made ready for the data plane beside those that run here."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from modelward.config.model import ModelSettings
from modelward.config.schema import Config
from modelward.config.shadow import Shadow
from modelward.config.units import SECOND
from modelward.config.upstream import UpstreamAddress, parse_upstreams
from modelward.fallback.value import FallbackValue
from modelward.models.artifact import Artifact
from modelward.models.declared_outputs import declared_outputs
from modelward.models.inventory import CheckedFallback, CheckedVersion
from modelward.models.opening import OpenVersion
from modelward.problem import Problem, ProblemsFound
from modelward.repository.refused import Refused
from modelward.telemetry.merge import added
from modelward.telemetry.snapshot import ModelSnapshot, Snapshot
from modelward.upstream.breaker_override import BreakerOverride
from modelward.upstream.canary import load_canary
from modelward.upstream.credentials import examine
from modelward.upstream.discovery import LIST, Unanswered, Waiting, ask, foreign
from modelward.upstream.forwarder import Forwarder
from modelward.upstream.metadata import DescribedVersion, declared, describe, models_of, undecoded
from modelward.upstream.overridden import Overridden, overridden_in
from modelward.upstream.profile import Profiles, UnusableProfile
from modelward.upstream.servers import UpstreamServers
from modelward.upstream.statistics import UpstreamStatistics
from modelward.upstream.unknown_signature import needing_a_signature
from modelward.upstream.upstream_pool import PoolKey, UpstreamPool
from modelward_native.backend.engine import Engine, Remote
from modelward_native.backend.pool import Pool
from modelward_native.request.served import Served

T = TypeVar("T")
log = logging.getLogger("modelward.upstream")

PASSTHROUGH = ""  # stands for a model's name where methods that are not known here go
# What upstreams have told, by model and addresses: its descriptions, and under PASSTHROUGH the names of all models,
# None where they have no index.
Told = Mapping[tuple[str, tuple[UpstreamAddress, ...]], Any]


class News(Struct, frozen=True):
    """told: what differs from what was told before. missing: models that no upstream of theirs serves now."""

    told: Told
    missing: frozenset[str]


class UpstreamModels:
    """Opens every model that the configuration serves through upstreams.

    before: those of the configuration that this one follows. Pools and endpoints that stay are taken over; they do not
    change until `EndpointManagers.follow`. What an upstream told before is used where it cannot be asked now.
    startup_timeout: seconds to wait for upstreams that must be asked for signatures; None for the configuration's.
    waiting: called with words for what is waited for. kept: models that stay as they were, and why.
    """

    def __init__(
        self,
        config: Config,
        before: "UpstreamModels | None" = None,
        startup_timeout: float | None = None,
        waiting: Waiting = lambda reason: None,
        kept: Mapping[str, Refused] = MappingProxyType({}),
    ) -> None:
        self._config = config
        self._startup_timeout = config.health.startup / SECOND if startup_timeout is None else startup_timeout
        self._waiting = waiting
        self._pools: dict[PoolKey, UpstreamPool] = {}
        self._keys: dict[str, PoolKey] = {}
        self._told: dict[tuple[str, tuple[UpstreamAddress, ...]], Any] = {}
        self._given: Told = {}  # told already: not asked for again
        self.missing: frozenset[str] = frozenset()
        # whose profile cannot be used; of these, `kept` are served already, and are to stay as they were
        self.refused: tuple[Refused, ...] = (*kept.values(),)
        self.kept = dict(kept)
        self._profiles: Profiles = Profiles(before._profiles if before else None, kept)
        self._opened: frozenset[str] = frozenset()
        # who asks upstreams, by their addresses
        self._asked: dict[tuple[UpstreamAddress, ...], Forwarder] = {}
        # who answers for the models that pass undecoded
        self.forwarders: dict[str, Forwarder] = {}
        # by model: who tells its stats
        self.statistics: dict[str, UpstreamStatistics] = {}
        # those of `upstreams:`
        self.servers: UpstreamServers | None = None
        self._before = before

    def renewed(self, news: News) -> "UpstreamModels":
        """Those of the same configuration after the news; `open` asks for nothing that has been told."""
        after = UpstreamModels(self._config, self, 0.0, kept=self.kept)
        after._given = {**self._told, **news.told}
        after.missing = news.missing
        return after

    def keeping(self, config: Config, before: "UpstreamModels") -> "UpstreamModels":
        """Those of a configuration in which the models of `kept` are as before; nothing is asked for again."""
        after = UpstreamModels(config, before, 0.0, kept=self.kept)
        after._given = self._told
        return after

    def is_configured(self, name: str) -> bool:
        return name in self._config.models

    @property
    def told(self) -> Told:
        """Of models whose signature the configuration declares there is nothing."""
        return self._told

    @property
    def pools(self) -> list[UpstreamPool]:
        return list(self._pools.values())

    async def open(self, local: Collection[str] = ()) -> list[OpenVersion]:
        """Asks the upstreams for the signatures that are not declared. Raises ProblemsFound with every problem. What is
        refused alone is in `refused` then.

        local: models that run here, whatever upstreams call theirs.
        """
        _, bad_files = examine(self._config)
        if bad_files:
            raise ProblemsFound(bad_files)
        wanted = {
            name: parse_upstreams(s.upstreams, s.upstream_tls) for name, s in self._config.models.items() if s.upstreams
        }
        if self._config.upstreams:
            addresses = parse_upstreams(self._config.upstreams, self._config.upstream_tls)
            listed = await self._ask(PASSTHROUGH, models_of, addresses, LIST)
            for name in self._unlisted(addresses, local) if listed is None else foreign(listed, local):
                wanted.setdefault(name, addresses)
        self._choose_pools(wanted)
        self._choose_whom_to_ask(wanted)
        opened = await asyncio.gather(
            *(self._open(name, addresses) for name, addresses in wanted.items()), return_exceptions=True
        )
        served = self._before._opened if self._before else ()
        self._before = None
        problems: dict[Problem, None] = {}
        models: list[OpenVersion] = []
        for name, result in zip(wanted, opened, strict=True):
            if isinstance(result, UnusableProfile) and name not in self.kept:
                self.refused += (Refused(name, "", result.problems, kept=name in served),)
                if name in served:
                    self.kept[name] = self.refused[-1]
            elif isinstance(result, ProblemsFound):
                problems |= dict.fromkeys(result.problems)
            elif isinstance(result, BaseException):
                raise result
            else:
                models += result
        if problems:
            raise ProblemsFound(list(problems))
        self._opened = frozenset(model.checked.name for model in models)
        return models

    def _choose_whom_to_ask(self, wanted: dict[str, list[UpstreamAddress]]) -> None:
        before = self._before._asked if self._before else {}
        whole = tuple(parse_upstreams(self._config.upstreams, self._config.upstream_tls))
        for addresses in dict.fromkeys([*map(tuple, wanted.values()), *([whole] if whole else [])]):
            self._asked[addresses] = before.get(addresses) or Forwarder(addresses)
            self._asked[addresses].servers = self._servers
        tellers = {addresses: UpstreamStatistics(asked) for addresses, asked in self._asked.items()}
        self.statistics = {name: tellers[tuple(addresses)] for name, addresses in wanted.items()}
        # memory that a client shares, or a sequence, is with one server
        single = len(whole) == 1 and not whole[0].is_many
        if whole:
            self.servers = UpstreamServers(self._asked[whole], single=single, passthrough=self._config.passthrough)

    def _servers(self, address: UpstreamAddress) -> list[UpstreamAddress]:
        """Those that requests go to; the name itself where it has not been resolved yet."""
        groups = (group for pool in self.pools if not pool.shadow for group in pool.groups if group.address == address)
        return [member.address for group in groups for member in group.members] or [address]

    def _unlisted(self, addresses: list[UpstreamAddress], local: Collection[str]) -> list[str]:
        """What is served of upstreams that have no index: models that the configuration names, and those that were
        learned when they were first asked for."""
        if self._before is None:
            log.warning(
                "upstream %s has no RepositoryIndex: models that the configuration names are served, others when they "
                "are first asked for",
                ", ".join(address.text for address in addresses),
            )
        named = [name for name, s in self._config.models.items() if not s.upstreams and name not in local]
        before = self._given or (self._before.told if self._before else {})
        learned = [name for name, at in before if name != PASSTHROUGH and at == tuple(addresses) and name not in local]
        return list(dict.fromkeys([*named, *learned]))

    @property
    def learns(self) -> bool:
        """Whether a model that is not known may be served by an upstream all the same."""
        return any(name == PASSTHROUGH and told is None for (name, _), told in self._told.items())

    def _choose_pools(self, wanted: dict[str, list[UpstreamAddress]]) -> None:
        """Models with the same upstreams share their connections, unless they ask a second one differently."""
        for name, addresses in wanted.items():
            settings = self._config.settings(name)
            share = settings.hedging.budget if settings.hedging else 0.0
            resends = settings.retries is not None and settings.retries.unanswered
            own = name if settings.canary.file is not None else ""
            self._keys[name] = PoolKey(tuple(addresses), share, resends, own)
        if self._config.passthrough:
            addresses = parse_upstreams(self._config.upstreams, self._config.upstream_tls)
            self._keys[PASSTHROUGH] = PoolKey(tuple(addresses))
        for name, settings in self._config.models.items():
            for shadow in settings.shadow:
                self._key_shadow(name, shadow, wanted.get(name))
        known, names = (self._before._pools, self._before._keys) if self._before else ({}, {})
        left = known.keys() - self._keys.values()
        for name, key in self._keys.items():
            if key in self._pools:
                continue
            follows = names.get(name)
            if key in known:
                self._pools[key] = known[key]
            elif follows in left:
                left.discard(follows)
                self._pools[key] = UpstreamPool.of(key, known[follows])
            else:
                self._pools[key] = UpstreamPool.of(key)

    def _key_shadow(self, name: str, shadow: Shadow, addresses: list[UpstreamAddress] | None) -> None:
        """addresses: the model's own, which run its other versions too; None where all of them run here."""
        if shadow.upstreams:
            addresses = parse_upstreams(shadow.upstreams, shadow.upstream_tls)
        if addresses is not None:
            own = _own(name, shadow)
            self._keys[own] = PoolKey(tuple(addresses), own=own, is_shadow=True)

    def shadow_pool(self, name: str, shadow: Shadow) -> UpstreamPool | None:
        """The connections of a model's shadow; None where it runs here."""
        key = self._keys.get(_own(name, shadow))
        return None if key is None else self._pools[key]

    def canaried(self) -> dict[str, UpstreamPool]:
        """The connections of models whose endpoints are judged by a canary."""
        return {name: self._pools[key] for name, key in self._keys.items() if key.has_canary}

    def overridden(self, breakers: Iterable[BreakerOverride]) -> list[Overridden]:
        """Of the models that are sent to upstreams."""
        return overridden_in({name: self._pools[key] for name, key in self._keys.items()}, breakers)

    def passthrough(self) -> Pool | None:
        """Where methods that are not known here go; None where they are refused."""
        key = self._keys.get(PASSTHROUGH)
        return None if key is None else self._pools[key].pool

    async def _open(self, name: str, addresses: list[UpstreamAddress]) -> list[OpenVersion]:
        """Its versions, ascending."""
        settings = self._config.settings(name)
        described = await self._described(name, settings, addresses)
        return [
            self._version(each, settings, addresses, is_newest=each is described[-1])
            if each.undecoded is None
            else self._undecoded(each, each.undecoded, settings, addresses)
            for each in described
        ]

    def _version(
        self, described: DescribedVersion, settings: ModelSettings, addresses: list[UpstreamAddress], *, is_newest: bool
    ) -> OpenVersion:
        name, version = described.name, described.version or "1"
        inputs = [(s.name, s.datatype, s.shape) for s in described.inputs]
        outputs = [(s.name, s.datatype, s.shape) for s in described.outputs]
        profile, profile_file, seen = self._profiles.of(name, settings.anomaly, described.inputs)
        canary = None
        with contextlib.suppress(*(() if is_newest else (ProblemsFound,))):  # an older version may differ
            canary = load_canary(name, settings.canary, described.inputs, described.outputs)
        remote = Remote(inputs, outputs, self._pools[self._keys[name]].pool, described.optional)
        artifact = Artifact(Path(addresses[0].text), b"", "", described.inputs, described.outputs, 0)
        checked = CheckedVersion(
            name,
            version,
            artifact,
            settings,
            profile,
            profile_file,
            self._fallbacks(name, settings, described),
            profile_fingerprint=seen,
            canary=canary,
            interface=described.interface,
            outputs=declared_outputs(
                settings.outputs, described.inputs, described.outputs, f"model {name} version {version}"
            ),
        )
        return OpenVersion(
            checked,
            Served(Engine(name, version, remote)),
            "",
            tuple(a.text for a in addresses),
            described.source,
            platform=described.platform,
            backend="",
            config=described.config,
            metadata=described.metadata,
        )

    def _undecoded(
        self, described: DescribedVersion, reason: Problem, settings: ModelSettings, addresses: list[UpstreamAddress]
    ) -> OpenVersion:
        """Guarded by all that needs no signature. Raises ProblemsFound where the settings ask for more."""
        name = described.name
        if asked := needing_a_signature(settings):
            what = "needs the model's signature, which is not known"
            raise ProblemsFound(Problem(f"{key} {what}", f"model {name}", reason.why, reason.how) for key in asked)
        self.forwarders[name] = self._asked[tuple(addresses)]
        engine = Engine(name, "", Remote((), (), self._pools[self._keys[name]].pool))
        artifact = Artifact(Path(addresses[0].text), b"", "", (), (), 0)
        fallbacks = self._fallbacks(name, settings, described)
        checked = CheckedVersion(name, "", artifact, settings, None, None, fallbacks, reason)
        note = f"{reason.what}: {reason.why}. {reason.how}"
        return OpenVersion(
            checked, Served(engine), note, tuple(a.text for a in addresses), described.source, backend=""
        )

    async def close(self, after: "UpstreamModels | None" = None) -> None:
        """after: those that follow, which may have taken over some of what would be closed."""
        kept = after._asked.values() if after else ()
        for asked in self._asked.values():
            if asked not in kept:
                await asked.close()

    async def _described(
        self, name: str, settings: ModelSettings, addresses: list[UpstreamAddress]
    ) -> list[DescribedVersion]:
        if settings.signature is not None:
            return [declared(name, settings.signature)]
        what = f"the signature of model {name}"
        try:
            described = await self._ask(name, partial(describe, model=name), addresses, what)
        except Unanswered as silence:
            why = "; ".join(f"{p.where}: {p.what}: {p.why}" for p in silence.problems)
            described = self._told[name, tuple(addresses)] = [undecoded(name, why, silence.problems[0].how)]
        return described

    async def _ask(
        self,
        name: str,
        question: Callable[[UpstreamAddress], Awaitable[T]],
        addresses: list[UpstreamAddress],
        what: str,
    ) -> T:
        key = name, tuple(addresses)
        if key in self._given:
            answer: T = self._given[key]
            self._told[key] = answer
            return answer
        told: T | None = self._before._told.get(key) if self._before else None
        try:
            answer = await ask(question, addresses, what, self._startup_timeout if told is None else 0.0, self._waiting)
        except ProblemsFound as found:
            if told is None:
                raise
            log.warning("%s; what it reported before still counts", found)
            answer = told
        self._told[key] = answer
        return answer

    def _fallbacks(
        self, name: str, settings: ModelSettings, described: DescribedVersion
    ) -> tuple[CheckedFallback, ...]:
        fallbacks = []
        for i, fallback in enumerate(settings.fallback):
            if fallback.value is not None:
                where = f"model {name}, fallback[{i}]"
                fallbacks.append(CheckedFallback(value=FallbackValue.compile(described.outputs, fallback.value, where)))
            else:
                fallbacks.append(CheckedFallback(model=fallback.model, last_good=fallback.last_good))
        return tuple(fallbacks)

    def stats(self) -> Snapshot:
        """Per configured address; pools with the same addresses count together."""
        total = Snapshot(models={name: ModelSnapshot(undecoded=1) for name in self.forwarders})
        for pool in self.pools:
            for group in pool.groups:
                total = added(total, Snapshot(endpoints={group.address.text: group.snapshot()}))
        return replace(total, panics={name: int(panic) for name, panic in self.panics().items()})

    def panics(self) -> dict[str, bool]:
        """By model: whether requests are sent to endpoints that are out of order too."""
        shown = (name for name in self._keys if name != PASSTHROUGH and "\0" not in name)
        return {name: self._pools[self._keys[name]].pool.in_panic(name) for name in shown}


def _own(model: str, shadow: Shadow) -> str:
    """What stands for a model's name where its shadow has connections."""
    return f"{model}\0{shadow.name}"
