"""Models that upstream servers run, made ready for the data plane beside those that run here."""

from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc

from native.served import Remote, Served
from native.upstream import Endpoint, Pool
from proxy.config.schema import Config, Hedging, ModelSettings
from proxy.config.upstream import UpstreamAddress, parse_upstream
from proxy.fallback.value import FallbackValue
from proxy.models.artifact import Artifact
from proxy.models.inventory import CheckedModel, CheckedRung
from proxy.models.opening import OpenModel, apply_settings
from proxy.problem import Problem, ProblemsFound
from proxy.route.metadata import RemoteModel, describe, models_of

T = TypeVar("T")

REFRESH = "Start it, or mend the address"


@dataclass(frozen=True)
class RemotePool:
    """The endpoints of one or more models: (address, endpoint) of each, for whoever connects them."""

    endpoints: tuple[tuple[UpstreamAddress, Endpoint], ...]
    pool: Pool


class Remotes:
    """Opens every model that the configuration serves through upstreams."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pools: dict[tuple[str, ...], RemotePool] = {}

    @property
    def endpoints(self) -> list[tuple[UpstreamAddress, Endpoint]]:
        return [pair for pool in self._pools.values() for pair in pool.endpoints]

    async def open(self) -> list[OpenModel]:
        """Asks the upstreams for signatures; models without one are a problem. Raises ProblemsFound."""
        wanted = {name: s.upstreams for name, s in self._config.models.items() if s.upstreams}
        if self._config.upstreams:
            first = parse_upstream(self._config.upstreams[0])
            for name in await self._asked(models_of(first), first, "its models"):
                wanted.setdefault(name, self._config.upstreams)
        return [await self._open(name, upstreams) for name, upstreams in wanted.items()]

    async def _open(self, name: str, upstreams: tuple[str, ...]) -> OpenModel:
        addresses = [parse_upstream(text) for text in upstreams]
        described: RemoteModel = await self._asked(describe(addresses[0], name), addresses[0], f"model {name}")
        settings = self._config.settings(name)
        version = described.versions[-1] if described.versions else "1"
        inputs = [(s.name, s.datatype, s.shape) for s in described.inputs]
        outputs = [(s.name, s.datatype, s.shape) for s in described.outputs]
        served = Served(name, version, Remote(inputs, outputs, self._pool(upstreams, settings.hedging).pool))
        artifact = Artifact(Path(upstreams[0]), b"", "", described.inputs, described.outputs, 0)
        checked = CheckedModel(
            name,
            int(version) if version.isdigit() else 1,
            artifact,
            settings,
            None,
            None,
            self._rungs(name, settings, described),
        )
        apply_settings(served, checked)
        return OpenModel(checked, served, "", upstreams)

    def _pool(self, upstreams: tuple[str, ...], hedging: Hedging | None) -> RemotePool:
        """Models with the same upstreams share their connections, unless they hedge differently."""
        share = hedging.budget if hedging else 0.0
        key = (*upstreams, f"hedge {share}")
        if key not in self._pools:
            addresses = [parse_upstream(text) for text in upstreams]
            endpoints = tuple((a, Endpoint(a.text, a.authority)) for a in addresses)
            self._pools[key] = RemotePool(endpoints, Pool([e for _, e in endpoints], share))
        return self._pools[key]

    def _rungs(self, name: str, settings: ModelSettings, described: RemoteModel) -> tuple[CheckedRung, ...]:
        rungs = []
        for i, rung in enumerate(settings.fallback):
            if rung.value is not None:
                where = f"model {name}, fallback[{i}]"
                rungs.append(CheckedRung(value=FallbackValue.compile(described.outputs, rung.value, where)))
            else:
                rungs.append(CheckedRung(model=rung.model))
        return tuple(rungs)

    async def _asked(self, question: Awaitable[T], address: UpstreamAddress, what: str) -> T:
        try:
            return await question
        except (TimeoutError, grpc.RpcError) as error:
            why = error.details() if isinstance(error, grpc.RpcError) else "no answer"
            raise ProblemsFound(
                [Problem(f"the upstream does not tell about {what}", address.text, str(why), REFRESH)]
            ) from error
