"""Workers of a pool that cannot be started, or that end with their server."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from typing import Any

import pytest

from modelward.admin.operator import NotNow
from modelward.config.schema import Config
from modelward.no_process import no_process
from modelward.problem import Problem
from modelward.supervisor import worker_pool
from modelward.supervisor.worker_pool import WorkerPool, WorkerSlot
from modelward.supervisor.worker_process import WorkerProcess

REFUSED = no_process(OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)))


class Worker:
    """One that has ended before it was ready."""

    ready = died_of_load = False
    number, report, reloaded = 0, None, None

    def tell(self, message: object) -> None: ...


def a_pool() -> WorkerPool:
    return WorkerPool(Config(), None, -1, lambda: None, lambda what: None)


def test_a_worker_for_which_there_is_no_process_is_tried_again_and_the_reason_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_pool, "FIRST_PAUSE_SECONDS", 0)
    pool, slot, worker, tries = a_pool(), WorkerSlot(), Worker(), iter([REFUSED, REFUSED, None])

    async def start(*given: object) -> Any:
        if (refused := next(tries)) is not None:
            raise refused
        return worker

    monkeypatch.setattr(WorkerProcess, "start", start)
    monkeypatch.setattr(pool, "_attend", lambda slot, worker: asyncio.sleep(0))
    with caplog.at_level(logging.ERROR):
        asyncio.run(pool._replace(slot))
    assert slot.worker is worker
    assert [*pool._workers._taken] == [0], "its part of the region was free again each time"
    assert [record.getMessage() for record in caplog.records] == [
        f"a worker cannot start: {problem}" for problem in REFUSED.problems * 2
    ]


@pytest.mark.parametrize("ends", [True, False])
def test_a_replacement_that_the_end_of_the_server_ends_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, *, ends: bool
) -> None:
    pool, slot = a_pool(), WorkerSlot(problems=(Problem("a worker ended with signal 9", "workers"),))

    async def spawn(slot: WorkerSlot) -> Any:
        pool._ending = ends
        return Worker()

    monkeypatch.setattr(pool, "_spawn", spawn)
    pool._slots = [slot]
    with pytest.raises(NotNow if ends else Exception, match="server is ending" if ends else "signal 9"):
        asyncio.run(pool.restart(lambda replaced: None))


@pytest.mark.parametrize("ends", [True, False])
def test_a_reload_that_the_end_of_the_server_ends_is_no_problem(*, ends: bool) -> None:
    pool, worker = a_pool(), Worker()
    worker.ready, pool._ending = True, ends
    pool._slots = [WorkerSlot(worker)]  # type: ignore[arg-type]
    with pytest.raises(NotNow if ends else Exception, match="server is ending" if ends else "survived the reload"):
        asyncio.run(pool.reload(Config()))
