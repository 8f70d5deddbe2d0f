"""Requests that a slow upstream keeps waiting are asked of a second one too; fallbacks on other upstreams."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.e2e.test_upstreams import answer, in_front, infer
from tests.models import add_one, identity, repository
from tests.support import EmbeddedServer, ServerProcess, serve_process, serve_processes, wait_until


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("hedged"), {"add": add_one(), "same": identity()})


@pytest.fixture(scope="module")
def pair(models: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with serve_processes((models,), (models,)) as (first, second):
        yield first, second


@contextlib.contextmanager
def frozen(pair: tuple[ServerProcess, ServerProcess], server: EmbeddedServer) -> Iterator[None]:
    """Freezes the upstream that the next request would go to: the one that answered most of the last ones."""
    for _ in range(100):
        infer(server.grpc)
    favourite = max(server.application.upstreams, key=lambda e: e.requests).address
    upstream = next(p for p in pair if p.grpc == favourite)
    upstream.signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        upstream.signal_all(signal.SIGCONT)


@contextlib.contextmanager
def frozen_both(pair: tuple[ServerProcess, ServerProcess]) -> Iterator[None]:
    for upstream in pair:
        upstream.signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        for upstream in pair:
            upstream.signal_all(signal.SIGCONT)


def test_a_frozen_upstream_is_overtaken_by_the_other(pair: tuple[ServerProcess, ServerProcess]) -> None:
    first, second = pair
    with in_front([first.grpc, second.grpc], models__add__hedging="{budget: 0.5}") as server:
        with frozen(pair, server):
            answers = [answer(infer(server.grpc)) for _ in range(10)]
        assert answers == [[2.0, 3.0, 4.0, 5.0]] * 10
        assert server.metric("modelward_upstream_hedges_total") >= 1
        wait_until(lambda: all(e.inflight == 0 for e in server.application.upstreams), "the losers to be let go")


def test_without_hedging_a_frozen_upstream_is_waited_for(pair: tuple[ServerProcess, ServerProcess]) -> None:
    first, second = pair
    with in_front([first.grpc, second.grpc]) as server, frozen_both(pair), ThreadPoolExecutor(1) as pool:
        call = pool.submit(infer, server.grpc, timeout=2.0)
        wait_until(lambda: any(e.inflight for e in server.application.upstreams), "the request to be sent")
        asked = next(e.address for e in server.application.upstreams if e.inflight)
        next(p for p in pair if p.grpc != asked).signal_all(signal.SIGCONT)
        with pytest.raises(grpc.RpcError) as late:
            call.result()
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_fallback_of_another_upstream_is_asked_under_its_own_name(
    models: Path, pair: tuple[ServerProcess, ServerProcess]
) -> None:
    _, second = pair
    settings = {
        "models__add__fallback": "[{model: same}]",
        "models__same__upstreams": f"[{second.grpc}]",
    }
    with serve_process(models) as first, in_front([first.grpc], **settings) as server:
        first.signal_all(signal.SIGKILL)
        add = next(e for e in server.application.upstreams if e.address == first.grpc)
        wait_until(lambda: not add.connected, "the loss to be seen")
        response = infer(server.grpc)
        assert response.model_name == "add"
        assert response.parameters["modelward_fallback_source"].string_param == "model:same"
        np.testing.assert_array_equal(answer(response), [1.0, 2.0, 3.0, 4.0])
