"""The processes of a worker pool, as far as they need no process."""

from __future__ import annotations

from collections.abc import Mapping
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
