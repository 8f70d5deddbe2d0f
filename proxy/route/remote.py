"""Models that upstream servers run, made ready for the data plane beside those that run here."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from native.pool import Pool
from native.served import Remote, Served
from proxy.config.schema import Config, ModelSettings
from proxy.config.tls import UpstreamTls
from proxy.config.units import SECOND
from proxy.config.upstream import UpstreamAddress, parse_upstream
from proxy.fallback.value import FallbackValue
from proxy.models.artifact import Artifact
from proxy.models.inventory import CheckedModel, CheckedRung
from proxy.models.opening import OpenModel, apply_settings
from proxy.problem import Problem, ProblemsFound
from proxy.route.asking import Unanswered, Waiting, ask
from proxy.route.credentials import examine
from proxy.route.elsewhere import Elsewhere
from proxy.route.group import Group
from proxy.route.metadata import RemoteModel, declared, describe, models_of, undecoded
from proxy.route.profile import is_on, load_profile
from proxy.telemetry.merge import added
from proxy.telemetry.snapshot import ModelSnapshot, PoolSnapshot, Snapshot

log = logging.getLogger("modelward.upstream")

WATCH_SECONDS = 30.0


@dataclass(frozen=True)
class RemotePool:
    """What one or more models are sent to: the addresses as configured, and the endpoints behind them."""

    groups: tuple[Group, ...]
    pool: Pool

    @property
    def name(self) -> str:
        return ",".join(group.address.text for group in self.groups)


class Remotes:
    """Opens every model that the configuration serves through upstreams.

    patience: seconds to wait for upstreams that must be asked for signatures; None for the configuration's.
    waiting: told in words what is waited for.
    """

    def __init__(self, config: Config, patience: float | None = None, waiting: Waiting = lambda reason: None) -> None:
        self._config = config
        self._patience = config.health.startup / SECOND if patience is None else patience
        self._waiting = waiting
        self._pools: dict[tuple[tuple[UpstreamAddress, ...], float], RemotePool] = {}
        # models whose signature may still be told
        self._silent: dict[str, list[UpstreamAddress]] = {}
        # who answers for the models that pass undecoded
        self.elsewhere: dict[str, Elsewhere] = {}

    @property
    def pools(self) -> list[RemotePool]:
        return list(self._pools.values())

    async def open(self) -> list[OpenModel]:
        """Asks the upstreams for the signatures that are not declared. Raises ProblemsFound with every problem."""
        _, bad_files = examine(self._config)
        if bad_files:
            raise ProblemsFound(bad_files)
        wanted = {name: _parsed(s.upstreams, s.upstream_tls) for name, s in self._config.models.items() if s.upstreams}
        if self._config.upstreams:
            addresses = _parsed(self._config.upstreams, self._config.upstream_tls)
            for name in await ask(models_of, addresses, "the list of its models", self._patience, self._waiting):
                wanted.setdefault(name, addresses)
        opened = await asyncio.gather(
            *(self._open(name, addresses) for name, addresses in wanted.items()), return_exceptions=True
        )
        problems: dict[Problem, None] = {}
        models: list[OpenModel] = []
        for result in opened:
            if isinstance(result, ProblemsFound):
                problems |= dict.fromkeys(result.problems)
            elif isinstance(result, BaseException):
                raise result
            else:
                models += result
        if problems:
            raise ProblemsFound(list(problems))
        return models

    def passthrough(self) -> Pool | None:
        """Where methods that are not known here go; None where they are refused."""
        if not self._config.passthrough:
            return None
        addresses = _parsed(self._config.upstreams, self._config.upstream_tls)
        return self._pool(addresses, ModelSettings()).pool

    async def _open(self, name: str, addresses: list[UpstreamAddress]) -> list[OpenModel]:
        """Its versions, ascending."""
        settings = self._config.settings(name)
        described = await self._described(name, settings, addresses)
        return [
            self._version(each, settings, addresses)
            if each.undecoded is None
            else self._undecoded(each, each.undecoded, settings, addresses)
            for each in described
        ]

    def _version(self, described: RemoteModel, settings: ModelSettings, addresses: list[UpstreamAddress]) -> OpenModel:
        name, version = described.name, described.version or "1"
        inputs = [(s.name, s.datatype, s.shape) for s in described.inputs]
        outputs = [(s.name, s.datatype, s.shape) for s in described.outputs]
        profile, profile_file = load_profile(name, settings.anomaly, described.inputs)
        pool = self._pool(addresses, settings).pool
        served = Served(name, version, Remote(inputs, outputs, pool, described.optional))
        artifact = Artifact(Path(addresses[0].text), b"", "", described.inputs, described.outputs, 0)
        checked = CheckedModel(
            name,
            version,
            artifact,
            settings,
            profile,
            profile_file,
            self._rungs(name, settings, described),
        )
        apply_settings(served, checked)
        return OpenModel(
            checked,
            served,
            "",
            tuple(a.text for a in addresses),
            described.source,
            platform=described.platform,
            backend="",
            config=described.config,
        )

    def _undecoded(
        self, described: RemoteModel, reason: Problem, settings: ModelSettings, addresses: list[UpstreamAddress]
    ) -> OpenModel:
        """Guarded by all that needs no signature. Raises ProblemsFound where the settings ask for more."""
        name = described.name
        if asked := _needing_a_signature(settings):
            what = "needs the model's signature, which is not known"
            raise ProblemsFound(Problem(f"{key} {what}", f"model {name}", reason.why, reason.how) for key in asked)
        self.elsewhere[name] = Elsewhere(addresses)
        served = Served(name, "", Remote((), (), self._pool(addresses, settings).pool))
        artifact = Artifact(Path(addresses[0].text), b"", "", (), (), 0)
        rungs = self._rungs(name, settings, described)
        checked = CheckedModel(name, "", artifact, settings, None, None, rungs, reason)
        apply_settings(served, checked)
        note = f"{reason.what}: {reason.why}. {reason.how}"
        return OpenModel(checked, served, note, tuple(a.text for a in addresses), described.source, backend="")

    async def watch(self) -> None:
        """Says it once when an upstream that was silent at the start tells a signature. Requests pass undecoded all the
        same: what is checked does not change under clients that rely on it."""
        while self._silent:
            await asyncio.sleep(WATCH_SECONDS)
            for name, addresses in list(self._silent.items()):
                with contextlib.suppress(ProblemsFound):
                    told = await ask(partial(describe, model=name), addresses, "", 0, lambda reason: None)
                    del self._silent[name]
                    if told[-1].undecoded is None:
                        log.warning("model %s: there is a %s now; the next start uses it", name, told[-1].source)

    async def close(self) -> None:
        for elsewhere in self.elsewhere.values():
            await elsewhere.close()

    async def _described(
        self, name: str, settings: ModelSettings, addresses: list[UpstreamAddress]
    ) -> list[RemoteModel]:
        if settings.signature is not None:
            return [declared(name, settings.signature)]
        what = f"the signature of model {name}"
        try:
            return await ask(partial(describe, model=name), addresses, what, self._patience, self._waiting)
        except Unanswered as silence:
            if not silence.final:
                self._silent[name] = addresses
            why = "; ".join(f"{p.where}: {p.what}: {p.why}" for p in silence.problems)
            return [undecoded(name, why, silence.problems[0].how)]

    def _pool(self, addresses: list[UpstreamAddress], settings: ModelSettings) -> RemotePool:
        """Models with the same upstreams share their connections, unless they hedge differently."""
        share = settings.hedging.budget if settings.hedging else 0.0
        key = (tuple(addresses), share)
        if key not in self._pools:
            groups = tuple(Group(address) for address in dict.fromkeys(addresses))
            self._pools[key] = RemotePool(groups, Pool([], share))
        return self._pools[key]

    def _rungs(self, name: str, settings: ModelSettings, described: RemoteModel) -> tuple[CheckedRung, ...]:
        rungs = []
        for i, rung in enumerate(settings.fallback):
            if rung.value is not None:
                where = f"model {name}, fallback[{i}]"
                rungs.append(CheckedRung(value=FallbackValue.compile(described.outputs, rung.value, where)))
            else:
                rungs.append(CheckedRung(model=rung.model, last_good=rung.last_good))
        return tuple(rungs)

    def figures(self) -> Snapshot:
        """Per configured address and per pool; pools with the same addresses count together."""
        total = Snapshot(models={name: ModelSnapshot(undecoded=1) for name in self.elsewhere})
        for pool in self.pools:
            for group in pool.groups:
                total = added(total, Snapshot(endpoints={group.address.text: group.snapshot()}))
            total = added(total, Snapshot(pools={pool.name: PoolSnapshot(pool.pool.retries, pool.pool.hedges)}))
        return total


def _needing_a_signature(settings: ModelSettings) -> list[str]:
    """The keys that mean nothing while the signature is not known."""
    mode = settings.anomaly.mode
    keys = []
    if is_on(settings.anomaly):
        keys.append("anomaly.profile" if mode == "observe" else f"anomaly.mode {mode}")
    # [[0.5]] may be FP32 or FP64, and of how many rows
    keys += [f"fallback[{i}].value" for i, rung in enumerate(settings.fallback) if rung.value is not None]
    return keys


def _parsed(upstreams: tuple[str, ...], tls: UpstreamTls | None) -> list[UpstreamAddress]:
    return [parse_upstream(text, tls) for text in upstreams]
