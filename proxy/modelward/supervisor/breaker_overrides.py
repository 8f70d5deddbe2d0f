"""Breakers that operators hold open or closed: told to all workers, and given back when their time is over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from modelward.admin.operator import NotNow
from modelward.audit.record import automatic
from modelward.audit.recorder import Recorder
from modelward.config.schema import Config
from modelward.models.facts import run_here
from modelward.problem import Problem, ProblemsFound
from modelward.suggest import suggestion
from modelward.supervisor.timed import Timed
from modelward.supervisor.worker_pool import WorkerPool
from modelward.upstream.breaker_override import ALL, BreakerOrder, BreakerOverride, State, where

log = logging.getLogger("modelward.supervisor")

MOST = 64
LOOK = "modelward status shows the models and their upstreams"


class BreakerOverrides:
    """They outlive reloads and workers, and end with this process. overrides: that hold now, by model and endpoint."""

    def __init__(
        self,
        pool: Callable[[], WorkerPool],
        config: Callable[[], Config],
        trail: Callable[[], Recorder],
        note: Callable[[str, str, str], None],
    ) -> None:
        """pool: raises NotNow where there is none. note: takes what was done, who asked, and about what."""
        self._timed = Timed[tuple[str, str], BreakerOverride](self._end)
        self.overrides = self._timed.values
        self._pool = pool
        self._config = config
        self._trail = trail
        self._note = note
        self._telling: set[asyncio.Task[None]] = set()

    def of(self, model: str) -> tuple[BreakerOverride, ...]:
        return tuple(each for each in self.overrides.values() if each.model == model)

    def counted(self) -> dict[tuple[str, str, str], int]:
        """By model, endpoint and state."""
        return {(each.model, each.endpoint_words, each.state): 1 for each in self.overrides.values()}

    def check(self, order: BreakerOrder) -> None:
        """Raises ProblemsFound where it cannot be obeyed, NotNow."""
        report = self._pool().report
        served = report.versions if report is not None else {}
        key, about = (order.model, order.endpoint), f"model {order.model}"
        if order.action == "auto":
            if key not in self.overrides and not (order.endpoint == ALL and self.of(order.model)):
                how = suggestion(order.endpoint or order.model, [name for each in self.overrides for name in each])
                how = how or "modelward breaker list shows all"
                raise ProblemsFound([Problem("no override is set for it", order.where, how=how)])
            return
        if order.model not in served:
            how = suggestion(order.model, served) or LOOK
            raise ProblemsFound([Problem("there is no such model", about, how=how)])
        if report is not None and order.model in run_here(report.facts):
            raise ProblemsFound([Problem("it runs here, and has no upstreams", about, how=LOOK)])
        addresses = self._config().settings(order.model).upstreams or self._config().upstreams
        if order.endpoint not in (ALL, *addresses):
            how = suggestion(order.endpoint, addresses) or f"Give one of {', '.join(addresses[:MOST])}"
            raise ProblemsFound([Problem("it has no such upstream", order.where, how=how)])
        if len(self.overrides) >= MOST and key not in self.overrides:
            how = "End one first: modelward breaker auto"
            raise ProblemsFound([Problem(f"{MOST} breaker overrides are set", order.where, how=how)])

    async def obey(self, order: BreakerOrder, actor: str = "") -> tuple[BreakerOverride, ...]:
        """Returns what holds for the model when all workers obey. What is said of all endpoints takes the place of what
        was said of single ones before. Raises ProblemsFound, and then nothing has changed; NotNow."""
        pool = self._pool()
        self.check(order)
        for model, endpoint in [*self.overrides]:
            if model == order.model and order.endpoint in (ALL, endpoint):
                self._timed.drop((model, endpoint))
        if order.action == "auto":
            log.warning("%s: no breaker override any more, asked by %s", order.where, actor)
        else:
            state: State = "open" if order.action == "open" else "closed"
            until = time.time() + order.seconds
            override = BreakerOverride(order.model, order.endpoint, state, until, actor, order.reason)
            self._timed.put((order.model, order.endpoint), override, until)
            log.warning("%s: the breaker is held %s for %.0f s, asked by %s", order.where, state, order.seconds, actor)
        self._note(f"breaker {order.action}", actor, order.where + (f": {order.reason}" if order.reason else ""))
        await pool.override_breakers((*self.overrides.values(),))
        return self.of(order.model)

    async def follow(self, override: BreakerOverride, *, ended: bool) -> bool:
        """Another server of the fleet has set or ended it; whether that changes anything here. Raises NotNow."""
        pool, key = self._pool(), (override.model, override.endpoint)
        if ended:
            if key not in self.overrides:
                return False
            self._timed.drop(key)
        else:
            try:
                self.check(BreakerOrder(*key, "open" if override.state == "open" else "close", reason=override.reason))
            except ProblemsFound:  # it has no such model or upstream
                return False
            self._timed.put(key, override, override.until)
        await pool.override_breakers((*self.overrides.values(),))
        return True

    def _end(self, override: BreakerOverride) -> None:
        """Its time is over."""
        log.warning("%s: no breaker override any more: the time is over", override.where)
        about = where(override.model, override.endpoint)
        self._trail().note(automatic("breaker.override_ended", model=override.model, object=about))
        try:
            told = self._pool().override_breakers((*self.overrides.values(),))
        except NotNow:  # it drains: its workers end
            return
        task = asyncio.get_running_loop().create_task(told)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
