"""Limits that operators have set for a time: told to all workers, and taken back when their time is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from modelward.admin.operator import NotNow
from modelward.audit.record import automatic
from modelward.audit.recorder import Recorder
from modelward.config.schema import Config
from modelward.limits.temporary import Kind, TemporaryLimit
from modelward.problem import Problem, ProblemsFound
from modelward.suggest import suggestion
from modelward.supervisor.timed import Timed
from modelward.supervisor.worker_pool import WorkerPool

log = logging.getLogger("modelward.supervisor")

MOST = 64


class TemporaryLimits:
    """They outlive reloads and workers, and end with this process. limits: that hold now, by kind and name."""

    def __init__(
        self, pool: Callable[[], WorkerPool], config: Callable[[], Config], trail: Callable[[], Recorder]
    ) -> None:
        """pool: raises NotNow where there is none."""
        self._timed = Timed[tuple[Kind, str], TemporaryLimit](self._end)
        self.limits = self._timed.values
        self._pool = pool
        self._config = config
        self._trail = trail
        self._telling: set[asyncio.Task[None]] = set()

    async def set(self, limit: TemporaryLimit) -> None:
        """In place of one of the same name. Returns when all workers hold it. Raises ProblemsFound, NotNow."""
        pool = self._pool()
        self._check(pool, limit)
        self._timed.put((limit.kind, limit.name), limit, limit.until)
        log.warning("%s %s is limited to %s for a time, asked by %s", limit.kind, limit.name, limit.words, limit.by)
        await pool.limit((*self.limits.values(),))

    async def unset(self, kind: Kind, name: str) -> None:
        """Raises ProblemsFound, NotNow."""
        pool = self._pool()
        if (kind, name) not in self.limits:
            how = (
                suggestion(name, [each for of, each in self.limits if of == kind]) or "modelward limit list shows them"
            )
            raise ProblemsFound([Problem("no temporary limit is set for it", f"{kind} {name}", how=how)])
        self._timed.drop((kind, name))
        log.info("%s %s has its configured limit again", kind, name)
        await pool.limit((*self.limits.values(),))

    async def follow(self, limit: TemporaryLimit, *, ended: bool) -> bool:
        """Another server of the fleet has set or ended it; whether that changes anything here. Raises NotNow."""
        pool, key = self._pool(), (limit.kind, limit.name)
        if ended:
            if key not in self.limits:
                return False
            self._timed.drop(key)
        else:
            try:
                self._check(pool, limit)
            except ProblemsFound:  # it has no such model, or no identities
                return False
            self._timed.put(key, limit, limit.until)
        await pool.limit((*self.limits.values(),))
        return True

    def _check(self, pool: WorkerPool, limit: TemporaryLimit) -> None:
        where = f"{limit.kind} {limit.name}"
        if len(self.limits) >= MOST and (limit.kind, limit.name) not in self.limits:
            how = "Unset one first: modelward limit unset"
            raise ProblemsFound([Problem(f"{MOST} temporary limits are set", where, how=how)])
        served = pool.report.versions if pool.report is not None else {}
        if limit.kind == "model" and limit.name not in served:
            how = suggestion(limit.name, served) or "modelward status shows the models"
            raise ProblemsFound([Problem("there is no such model", where, how=how)])
        if limit.kind == "identity" and self._config().access is None:
            raise ProblemsFound([Problem("no caller has an identity", where, "access is not set", "Set access")])

    def _end(self, limit: TemporaryLimit) -> None:
        """Its time is over."""
        log.info("%s %s has its configured limit again: the time is over", limit.kind, limit.name)
        model = limit.name if limit.kind == "model" else ""
        self._trail().note(automatic("limit.ended", model=model, object=f"{limit.kind} {limit.name}"))
        try:
            told = self._pool().limit((*self.limits.values(),))
        except NotNow:  # it drains: its workers end
            return
        task = asyncio.get_running_loop().create_task(told)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
