"""Slow models: they delay no other model, deadlines hold, and the fallback chain answers in their place."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import Stub, arrays, parameters, refused, request
from tests.support import EmbeddedServer, serving, wait_until

ROW = np.ones((1, 4), np.float32)
VALUE = "{value: {y: [[1, 2, 3, 4]]}}"
LOADED = 20.0  # seconds within which even a busy machine gets anything done: 300 late runs take twice that


def picky() -> bytes:
    """x FP32 [batch, 4] -> y, a row of a table by x's first element: 0 and 1 exist, anything else fails."""
    return models.model(
        [
            helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
            helper.make_node("Cast", ["column"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["y"], axis=0),
        ],
        [models.tensor("x", TensorProto.FLOAT, ["batch", 4])],
        [models.tensor("y", TensorProto.FLOAT, ["batch", 4])],
        [
            numpy_helper.from_array(np.array(0, np.int64), "first"),
            numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(2, 4), "table"),
        ],
    ).SerializeToString()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    slow = models.slow_loop(3_000)
    late = models.slow_loop(14_000)  # ends a good while after every deadline
    repository = {
        "fast": models.add_one(),
        "slow": slow,
        "patient": late,
        "bounded": late,
        "dropped": late,  # of one test alone
        "steps": models.loop_of_steps(),
        "valued": late,
        "replaced": models.slow_loop(30_000),
        "chained": late,
        "picky": picky(),
        "lenient": picky(),
    }
    chains = {
        "valued": f"[{VALUE}]",
        "replaced": "[{model: fast}]",
        "chained": f"[{{model: bounded}}, {{model: lenient}}, {VALUE}]",
        "lenient": f"[{VALUE}]",
    }
    settings: dict[str, Any] = {f"models__{name}__fallback": chain for name, chain in chains.items()}
    settings |= {f"models__{name}__deadline": "25ms" for name in ("bounded", "dropped", "valued", "chained")}
    settings["models__replaced__deadline"] = "200ms"  # the last quarter of it is the other model's
    # a warm-up makes three times as many runs of a model that is batched
    alone = ("patient", "bounded", "dropped", "replaced", "chained")
    settings |= {f"models__{name}__batching": "{max: 1}" for name in alone}
    with serving(tmp_path_factory.mktemp("deadlines"), repository, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


def took(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    result = function()
    return time.monotonic() - began, result


# ---- slow models ---------------------------------------------------------------------------------------------


def test_a_slow_model_runs_in_a_thread_and_a_fast_one_on_the_loop(server: EmbeddedServer) -> None:
    placed = {model.served.name: model.engine.predicted_placement() for model in server.application.models}
    assert placed["slow"] == "thread"
    assert placed["fast"] == "loop"


def test_a_slow_model_does_not_delay_a_fast_one(server: EmbeddedServer, stub: Stub) -> None:
    (engine,) = (model.engine for model in server.application.models if model.served.name == "steps")
    with Stub(server.grpc) as other:
        slow = other.future(request("steps", {"x": ROW, "steps": np.array([[10**9]])}))  # minutes
        wait_until(lambda: engine.running, "the slow run")
        for _ in range(10):
            assert arrays(stub.infer(request("fast", {"x": ROW})))["y"].tolist() == [[2.0] * 4]
        assert engine.running and not slow.done()
        slow.cancel()
    wait_until(lambda: not engine.running, "its end")


# ---- deadlines -----------------------------------------------------------------------------------------------


def deadline_refusal(call: Callable[[], Any]) -> Any:
    seconds, refusal = took(call)
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert seconds < LOADED
    return refusal


def milliseconds(message: str) -> float:
    (found,) = re.fullmatch(r"deadline exceeded after ([0-9.]+) ms", message).groups()
    return float(found)


def test_the_models_own_deadline_ends_a_request(stub: Stub) -> None:
    told = deadline_refusal(lambda: refused(stub, request("bounded", {"x": ROW})))
    assert told.reason == "DEADLINE"
    assert milliseconds(told.message) >= 25


def test_the_timeout_parameter_ends_a_request(stub: Stub) -> None:
    slow = request("patient", {"x": ROW.repeat(64, 0)}, parameters={"timeout": 50_000})
    assert milliseconds(deadline_refusal(lambda: refused(stub, slow)).message) >= 40


def test_the_clients_timeout_ends_a_request_before_the_client_gives_up(server: EmbeddedServer) -> None:
    with H2Client(server.grpc) as client:
        message = framed(request("patient", {"x": ROW.repeat(64, 0)}).SerializeToString())

        def in_time() -> bool:
            """A busy machine may make one late, or many."""
            reply = client.call(message, headers=[("grpc-timeout", "150m")])
            assert (reply.code, reply.reason) == (4, "DEADLINE")
            after = milliseconds(reply.message)
            assert after > 100
            return after < 150

        wait_until(in_time, "an answer before the client gives up")


def test_a_timeout_that_has_passed_at_entry_reaches_no_model(server: EmbeddedServer, stub: Stub) -> None:
    before = stub.statistics("fast").execution_count
    with H2Client(server.grpc) as client:
        message = framed(request("fast", {"x": ROW}).SerializeToString())
        assert client.call(message, headers=[("grpc-timeout", "1n")]).reason == "DEADLINE"
    assert stub.statistics("fast").execution_count == before


def test_results_that_come_too_late_are_dropped_and_counted(server: EmbeddedServer, stub: Stub) -> None:
    refused(stub, request("dropped", {"x": ROW}))
    wait_until(lambda: server.metric("modelward_late_results_total", model="dropped") == 1, "a late result")
    wait_until(lambda: server.metric("modelward_inflight") == 0, "nothing to be in flight")


# ---- the fallback chain ----------------------------------------------------------------------------------------------


def test_a_value_answers_for_a_slow_model_once_for_each_row(stub: Stub) -> None:
    response = stub.infer(request("valued", {"x": ROW.repeat(3, 0)}, id="mine"), timeout=LOADED)
    assert arrays(response)["y"].tolist() == [[1.0, 2.0, 3.0, 4.0]] * 3
    assert (response.id, response.model_name, response.model_version) == ("mine", "valued", "1")
    assert parameters(response) == {"modelward_fallback": "deadline", "modelward_fallback_source": "value"}


def test_a_fallback_is_told_in_the_trailers_too(server: EmbeddedServer, stub: Stub) -> None:
    _, call = stub.infer_call.with_call(request("valued", {"x": ROW}), timeout=LOADED)
    assert dict(call.trailing_metadata())["modelward-fallback"] == "deadline"
    assert "modelward-fallback" not in dict(
        stub.infer_call.with_call(request("fast", {"x": ROW}), timeout=LOADED)[1].trailing_metadata()
    )
    assert server.metric("modelward_fallbacks_total", model="valued", reason="DEADLINE") >= 1


def test_another_model_answers_for_a_slow_one(stub: Stub) -> None:
    def answered() -> Any:
        """A busy machine may make the other one late, too."""
        try:
            return stub.infer(request("replaced", {"x": ROW.repeat(16, 0)}))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    response = wait_until(answered, "an answer of the other one")
    assert arrays(response)["y"].tolist() == [[2.0] * 4] * 16
    assert response.model_name == "replaced"
    assert parameters(response) == {"modelward_fallback": "deadline", "modelward_fallback_source": "model:fast"}


def test_fallbacks_are_tried_one_after_the_other_until_one_answers(stub: Stub) -> None:
    response = stub.infer(request("chained", {"x": ROW * 7}))
    assert arrays(response)["y"].tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert parameters(response)["modelward_fallback_source"] == "value"


def test_a_failure_falls_back_and_a_good_input_does_not(stub: Stub) -> None:
    response = stub.infer(request("lenient", {"x": ROW * 99}))
    assert arrays(response)["y"].tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert parameters(response)["modelward_fallback"] == "failure"
    assert arrays(stub.infer(request("lenient", {"x": ROW})))["y"].tolist() == [[4.0, 5.0, 6.0, 7.0]]
    assert refused(stub, request("picky", {"x": ROW * 99})).reason == "BACKEND_FAILED"


def test_a_fallback_hides_no_error_of_the_clients(stub: Stub) -> None:
    assert refused(stub, request("valued", {"x": np.ones((1, 5), np.float32)})).reason == "INVALID_INPUT"
    assert refused(stub, request("valued", {"z": ROW})).code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused(stub, request("valued", {"x": ROW}, version="7")).reason == "UNKNOWN_VERSION"


def test_a_fallback_answers_a_stream_too(stub: Stub) -> None:
    answers = list(stub.stream([request("valued", {"x": ROW}, id=str(i)) for i in range(5)]))
    assert [answer.infer_response.id for answer in answers] == list("01234")
    assert {parameters(answer.infer_response)["modelward_fallback"] for answer in answers} == {"deadline"}


def test_every_one_of_many_late_requests_is_answered_by_the_fallback(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub:
        began = time.monotonic()
        futures = [stub.future(request("valued", {"x": ROW}, id=str(i)), timeout=LOADED) for i in range(300)]
        answers = [future.result() for future in futures]
        assert time.monotonic() - began < LOADED
    assert all(parameters(answer)["modelward_fallback"] == "deadline" for answer in answers)
    assert [answer.id for answer in answers] == [str(i) for i in range(300)]


def test_only_the_outputs_asked_for_are_in_a_fallback(stub: Stub) -> None:
    assert list(arrays(stub.infer(request("valued", {"x": ROW}, outputs=["y"])))) == ["y"]
