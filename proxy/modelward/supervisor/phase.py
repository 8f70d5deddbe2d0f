"""Whether the server starts, serves or ends, as readiness and the service manager are told."""

from __future__ import annotations

from collections.abc import Callable

from modelward.admin.operator import Draining, NotNow
from modelward.config.drain import Drain
from modelward.config.schema import Config
from modelward.config.units import SECOND
from modelward.server.readiness import Readiness
from modelward.supervisor.notify import Notifier
from modelward.supervisor.worker_pool import WorkerPool

Progress = Callable[[str], None]


class Phase:
    """It is ready while any worker is, and can answer for a model. pool: None before there is one. progress: told what
    the first workers are busy with."""

    def __init__(self, pool: Callable[[], WorkerPool | None], config: Callable[[], Config], notifier: Notifier) -> None:
        self.readiness = Readiness("loading models")
        self.progress: Progress = lambda what: None
        self._pool = pool
        self._config = config
        self._notifier = notifier
        self._started = self._ending = False

    def begin(self) -> None:
        """Every worker is ready for the first time."""
        self._started = True
        self._notifier.ready(self._words())

    def end(self, reason: str) -> None:
        self._ending = True
        self.readiness.set(False, reason)

    def at_work(self) -> WorkerPool:
        """The workers, if they are all there and are to stay. Raises NotNow."""
        pool = self._pool()
        if pool is None or not self._started:
            raise NotNow("the server is still starting; ask again when it is ready")
        if self._ending:
            raise NotNow("the server is draining; ask the next one")
        return pool

    def judge(self) -> None:
        """Workers have come, gone or changed."""
        pool = self._pool()
        assert pool is not None
        reason = pool.unanswered if pool.ready else "no worker is ready"
        starting = not pool.ready and not self.readiness.ready  # what it waits for is told already
        if reason != self.readiness.reason and not starting and not self._ending:
            self.readiness.set(not reason, reason)
        if self._started and not self._ending:
            self._notifier.status(self._words())

    def wait_for(self, what: str) -> None:
        """What a worker is busy with before it is ready."""
        self.progress(what)
        if not self._started:
            self._notifier.status(what if what.startswith("waiting ") else f"loading {what}")
        if not self.readiness.ready and not self._ending:
            self.readiness.set(False, what)

    def reloaded(self, said: str) -> None:
        if not self._ending:
            self._notifier.ready(self._words() + said)

    def _words(self) -> str:
        pool = self._pool()
        assert pool is not None
        return f"{pool.ready} of {self._config().workers} workers ready"


def left(pool: WorkerPool, settings: Drain) -> Draining:
    """What there is to do when a drain begins now."""
    inflight, _, connections = pool.region.gauges()
    return Draining(inflight, connections, settings.delay / SECOND, settings.timeout / SECOND)
