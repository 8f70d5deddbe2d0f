"""Workers that die in a thread of a model's pool, which works for all its runs: the run to blame is still known."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.e2e.messages import Refusal, Stub, request
from tests.e2e.test_crashes import LONG, all_ready, ask
from tests.support import serve_process, wait_until

# every model gets a pool of three threads beside the run's own
THREADS = """
from modelward_native.backend.engine import Engine
from modelward.models import opening

class Threaded(Engine):
    def __new__(cls, name, version, model):
        return super().__new__(cls, name, version, model, 4)

opening.Engine = Threaded
"""
SMALLEST = np.array([np.iinfo(np.int64).min])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_run_whose_pool_a_worker_died_in_is_told_from_others(tmp_path: Path, workers: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(THREADS)
    content = {"pool": models.dividing_in_pool(), "slow": models.loop_of_steps()}
    root = models.repository(tmp_path / "models", content)
    environment = {"PYTHONPATH": str(tmp_path)}
    with serve_process(root, "--set", f"workers={workers}", environment=environment) as server:
        with contextlib.ExitStack() as stubs:
            clients = [stubs.enter_context(Stub(server.grpc)) for _ in range(2 * workers)]
            under_way = [client.future(request("slow", LONG)) for client in clients]
            wait_until(lambda: server.metric("modelward_inflight") == len(under_way), "the slow runs")
            before = set(server.workers())
            assert ask(server, "pool", {"a": SMALLEST, "b": np.array([-1])}) is None
            wait_until(
                lambda: len(set(server.workers()) - before) == 1 and all_ready(server, workers), "another worker"
            )
            for call in under_way:
                call.cancel()
        found = [ask(server, "pool", {"a": SMALLEST, "b": np.array([1])}) for _ in range(2 * workers)]
        assert all(isinstance(each, Refusal) and each.reason == "CRASH" for each in found)
        assert server.metric("modelward_worker_deaths_total", cause="run") == 1
        assert server.metric("modelward_contained", model="slow") == 0
