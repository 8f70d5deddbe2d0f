"""A version whose canary does not pass gets no requests: its fallbacks answer in its place, or they are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from modelward_native.backend.side_run import SideRun
from tests import models
from tests.e2e.messages import Stub, arrays, parameters, refused, request
from tests.support import EmbeddedServer, serving, wait_until

X = np.full((1, 4), 3, np.float32)


def set_failing(server: EmbeddedServer, name: str, version: str, *, failing: bool = True) -> None:
    """On the server's loop, as it does itself."""
    engine = {model.key: model.engine for model in server.application.models}[name, version]
    loop = server.application.loop
    assert loop is not None
    loop.call_soon_threadsafe(setattr, engine, "failing", failing)
    wait_until(lambda: engine.failing is failing, "the flag")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """`plain` has no fallback chain; `sure` has the models middle and last on its, then a value."""
    names = ("plain", "sure", "middle", "last")
    fallbacks = "[{model: middle}, {model: last}, {value: {y: [[7, 7, 7, 7]]}}]"
    with serving(
        tmp_path_factory.mktemp("models"), {name: models.add_one() for name in names}, models__sure__fallback=fallbacks
    ) as running:
        yield running


def test_without_a_fallback_chain_requests_are_refused_and_told_no_internals(server: EmbeddedServer) -> None:
    set_failing(server, "plain", "1")
    with Stub(server.grpc) as stub:
        for version in ("", "1"):
            found = refused(stub, request("plain", {"x": X}, version=version))
            assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "CANARY")
            assert "out of service" in found.message
            assert "/" not in found.message
            assert "npz" not in found.message
        wrong = refused(stub, request("plain", {"x": X.astype(np.float64)}))
        assert wrong.code == grpc.StatusCode.INVALID_ARGUMENT, "a client's own error stays its own"
        set_failing(server, "plain", "1", failing=False)
        assert arrays(stub.infer(request("plain", {"x": X})))["y"][0, 0] == 4
    assert server.metric("modelward_refusals_total", model="plain", reason="CANARY") == 2


def test_the_fallback_chain_answers_and_fallbacks_that_fail_themselves_are_left_out(server: EmbeddedServer) -> None:
    asked = request("sure", {"x": X})
    told = []
    with Stub(server.grpc) as stub:
        for name in ("sure", "middle", "last"):
            set_failing(server, name, "1")
            answer = stub.infer(asked)
            told.append((parameters(answer), float(arrays(answer)["y"][0, 0])))
        (streamed,) = stub.stream([asked])
        assert streamed.infer_response.parameters["modelward_fallback"].string_param == "canary"
        for name in ("sure", "middle", "last"):
            set_failing(server, name, "1", failing=False)
        assert parameters(stub.infer(asked)) == {}
    sources = ("model:middle", "model:last", "value")
    assert [each for each, _ in told] == [
        {"modelward_fallback": "canary", "modelward_fallback_source": source} for source in sources
    ]
    assert [y for _, y in told] == [4, 4, 7]
    assert server.metric("modelward_fallbacks_total", model="sure", reason="CANARY") == 4


def test_requests_that_wait_before_a_busy_version_leave_when_it_fails(tmp_path: Path) -> None:
    sets = {"models__slow__admission__concurrency": "1", "models__slow__batching__max": "1"}
    with serving(tmp_path, {"slow": models.slow_loop(40_000)}, **sets) as server, Stub(server.grpc) as stub:
        calls = [stub.future(request("slow", {"x": X})) for _ in range(4)]
        wait_until(lambda: server.metric("modelward_waiting", model="slow") == 3, "three that wait")
        set_failing(server, "slow", "1")
        codes = Counter(call.code() for call in calls)
        assert codes == {grpc.StatusCode.OK: 1, grpc.StatusCode.UNAVAILABLE: 3}, "one was with the version already"
        assert server.metric("modelward_waiting", model="slow") == 0


def test_a_side_run_disturbs_no_run_of_requests_that_is_under_way(tmp_path: Path) -> None:
    with serving(tmp_path, {"slow": models.slow_loop(20_000)}) as server, Stub(server.grpc) as stub:
        (model,) = server.application.models
        expected = arrays(stub.infer(request("slow", {"x": X})))["y"]
        calls = [stub.future(request("slow", {"x": X})) for _ in range(3)]
        wait_until(lambda: model.engine.running, "a run in the thread")
        side = SideRun(model.engine)
        np.testing.assert_allclose(side.run_once({"x": -X})["y"], -expected, rtol=1e-4, atol=1e-5)
        for call in calls:
            np.testing.assert_allclose(arrays(call.result())["y"], expected, rtol=1e-4, atol=1e-5)
