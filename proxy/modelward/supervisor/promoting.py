"""The server as promotions see it: versions and stats of all workers, whom the shares are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelward.config.schema import Config
from modelward.models.facts import FactsByVersion
from modelward.models.weights import Shares
from modelward.promotion.guard import Arm, arm_of
from modelward.supervisor.shadowing import CrewShadows
from modelward.supervisor.worker_pool import Crew
from modelward_native.shadow import evidence
from modelward_native.telemetry import figures


class CrewServing:
    """What a promoter is told of. crew: None before there is one. shadows: of its models."""

    def __init__(self, config: Callable[[], Config], crew: Callable[[], Crew | None], shadows: CrewShadows) -> None:
        self._config = config
        self._crew = crew
        self._shadows = shadows

    @property
    def config(self) -> Config:
        return self._config()

    def models(self) -> tuple[str, ...]:
        crew = self._crew()
        report = crew.report if crew is not None else None
        return tuple(report.versions) if report is not None else ()

    def facts(self, model: str) -> FactsByVersion:
        crew = self._crew()
        report = crew.report if crew is not None else None
        return report.facts.get(model, {}) if report is not None else {}

    def versions(self, model: str) -> tuple[str, ...]:
        crew = self._crew()
        report = crew.report if crew is not None else None
        return tuple(report.versions.get(model, ())) if report is not None else ()

    def arms(self, model: str) -> Mapping[str, Arm]:
        crew = self._crew()
        if crew is None:
            return {}
        counted, region = figures.models(crew.region), crew.region
        return {
            version: arm_of(counted[model, version], evidence.counted(region, model, version))
            for version in self.versions(model)
            if (model, version) in counted
        }

    def verdict(self, model: str, version: str, shares: Mapping[str, int]) -> str | None:
        return self._shadows.verdict(model, version, shares)

    async def share(self, shares: Shares) -> None:
        crew = self._crew()
        if crew is not None:
            await crew.share(shares)
