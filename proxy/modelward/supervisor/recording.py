"""The audit trail of a server from its start to its end; or that it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from modelward.audit.record import automatic
from modelward.audit.recorder import NoTrail, Recorder
from modelward.config.digest import digest
from modelward.config.schema import Config
from modelward.distribution import release_of
from modelward.limits.shared import SharedLimits
from modelward.supervisor.shadow_verdicts import ShadowVerdicts
from modelward.supervisor.worker_pool import WorkerPool
from modelward.tasks import Tasks
from modelward.telemetry.snapshot import AuditSnapshot

if TYPE_CHECKING:
    from modelward.audit.retaining import Retaining
    from modelward.audit.trail import Trail
    from modelward.audit.witnesses import Witnesses
    from modelward.supervisor.observer import Observer

OFF = "off: what operators ask for and the server decides is not recorded; audit: {} turns it on"


class Recording:
    """Use `start` before anything is done, `observe` once there are workers, and `stop` last."""

    def __init__(self) -> None:
        self.recorder: Recorder = NoTrail()
        self._trail: Trail | None = None
        self._witnesses: Witnesses | None = None
        self._retaining: Retaining | None = None
        self._observer: Observer | None = None

    @property
    def words(self) -> str:
        """For status."""
        return "; ".join(filter(None, (self.trail, self.witnessed)))

    @property
    def trail(self) -> str:
        return self._trail.words if self._trail is not None else OFF

    @property
    def witnessed(self) -> str:
        return self._witnesses.words if self._witnesses is not None else ""

    async def start(self, config: Config, tell: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]) -> None:
        """tell: as modelward.audit.unanswered.Tell. Raises ProblemsFound."""
        if (settings := config.audited) is None:
            return
        # brings cryptography: only where there is a trail
        from modelward.audit.opening import open_retaining, open_trail, open_witnesses  # noqa: PLC0415

        self.recorder = self._trail = open_trail(settings, config, tell)
        await self._trail.start()
        self.recorder.note(
            automatic("server.start", after={"version": release_of("modelward"), "config": digest(config)})
        )
        if settings.witnesses:
            self._witnesses = open_witnesses(settings, config.state, self.recorder)
            self._witnesses.start()
        self._retaining = open_retaining(settings, config.state, self.recorder)
        if self._retaining is not None:
            self._retaining.start()

    def observe(
        self, tasks: Tasks, pool: WorkerPool, shadowing: ShadowVerdicts, shared: Callable[[], SharedLimits | None]
    ) -> None:
        """From now on what the server decides is recorded. tasks: that it is one of."""
        if self._trail is not None:
            from modelward.supervisor.observer import Observer  # noqa: PLC0415 - only where there is a trail

            self._observer = Observer(self._trail, pool, shadowing, shared)
            tasks.spawn(self._observer.watch())

    async def stop(self) -> None:
        if self._trail is None:
            return
        if self._observer is not None:
            self._observer.end()
        if self._retaining is not None:
            await self._retaining.stop()
        self._trail.note(automatic("server.stop"))
        await self._trail.stop()
        if self._witnesses is not None:
            await self._witnesses.stop()

    def stats(self) -> AuditSnapshot | None:
        if self._trail is None:
            return None
        stats = self._trail.stats()
        if (told := self._witnesses) is not None:
            stats = replace(stats, witnessed=told.sizes(), witness_failures=told.failures())
        if self._retaining is not None:
            stats = replace(stats, failures={**stats.failures, "retention": self._retaining.failures})
        if self._observer is not None:
            stats = replace(stats, failures={**stats.failures, "looks": self._observer.failures})
        return stats
