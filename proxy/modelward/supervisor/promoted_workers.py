"""The server as promotions see it: versions and stats of all workers, whom the shares are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelward.config.schema import Config
from modelward.drift.cause import Cause
from modelward.models.facts import FactsByVersion
from modelward.models.weights import Shares
from modelward.promotion.guard import Arm, arm_of
from modelward.supervisor.shadow_verdicts import ShadowVerdicts
from modelward.supervisor.worker_pool import WorkerPool
from modelward_native.shadow import evidence
from modelward_native.telemetry import stats


class PromotedWorkers:
    """What a promoter is told of. pool: None before there is one. shadows, drift: of its models."""

    def __init__(
        self,
        config: Callable[[], Config],
        pool: Callable[[], WorkerPool | None],
        shadows: ShadowVerdicts,
        drift: Callable[[str, str], Cause],
    ) -> None:
        self._config = config
        self._pool = pool
        self._shadows = shadows
        self._drift = drift

    @property
    def config(self) -> Config:
        return self._config()

    def models(self) -> tuple[str, ...]:
        pool = self._pool()
        report = pool.report if pool is not None else None
        return tuple(report.versions) if report is not None else ()

    def facts(self, model: str) -> FactsByVersion:
        pool = self._pool()
        report = pool.report if pool is not None else None
        return report.facts.get(model, {}) if report is not None else {}

    def versions(self, model: str) -> tuple[str, ...]:
        pool = self._pool()
        report = pool.report if pool is not None else None
        return tuple(report.versions.get(model, ())) if report is not None else ()

    def arms(self, model: str) -> Mapping[str, Arm]:
        pool = self._pool()
        if pool is None:
            return {}
        counted, region = stats.models(pool.region), pool.region
        return {
            version: arm_of(counted[model, version], evidence.counted(region, model, version))
            for version in self.versions(model)
            if (model, version) in counted
        }

    def verdict(self, model: str, version: str, shares: Mapping[str, int]) -> str | None:
        return self._shadows.verdict(model, version, shares)

    def drift(self, model: str, version: str) -> Cause:
        return self._drift(model, version)

    async def share(self, shares: Shares) -> None:
        pool = self._pool()
        if pool is not None:
            await pool.share(shares)
