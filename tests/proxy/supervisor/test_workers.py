"""The processes of a worker pool, as far as they need no process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from modelward.server.channel import Unsealed
from modelward.supervisor import workers as module
from modelward.supervisor.worker_process import WorkerProcess
from modelward.supervisor.workers import Workers
from modelward_native.region.region import Region


class Process:
    pid = 7
    report = None
    unsealed: Mapping[tuple[str, str], tuple[str, str]] = {}


@dataclass(eq=False)
class Reporting:
    report: str | None
    ready: bool
    started: float


ADD = {("add", "1"): ("sha256:a", "age1key")}


def test_what_a_worker_has_unsealed_is_known_before_it_is_ready_and_a_while_after_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers = Workers(Region(), -1, lambda: None)
    worker: Any = Process()
    workers._workers.add(worker)
    assert workers.unsealed == {}
    WorkerProcess.take(worker, Unsealed(ADD))
    assert workers.unsealed == {("add", "1", 7): ("sha256:a", "age1key")}
    workers.discard(worker)
    assert workers.unsealed == {("add", "1", 7): ("sha256:a", "age1key")}
    monkeypatch.setattr(module, "ENDED_SECONDS", 0)
    assert workers.unsealed == {}


def test_what_is_served_is_told_by_the_newest_worker_that_takes_requests() -> None:
    workers = Workers(Region(), -1, lambda: None)
    told: Any = workers._workers
    assert workers.report is None
    told.add(Reporting(None, ready=False, started=9))
    told.add(Reporting("drains", ready=False, started=8))
    assert workers.report == "drains"
    told.update(Reporting(f"ready since {started}", ready=True, started=started) for started in (1, 3, 2))
    assert workers.report == "ready since 3"
