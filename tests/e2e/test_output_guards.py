"""Guards of outputs over gRPC: of a model that runs here, and of an upstream with raw and with typed contents."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from math import inf, nan
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from onnx import TensorProto

from tests import models
from tests.commands import modelward
from tests.e2e.messages import RESPONSE, Array, Stub, array_of, parameters, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_relay import in_front, listening
from tests.support import EmbeddedServer, serving, wait_until

FALLBACK = [{"value": {"y": [[0.0, 0.0]]}}]
SETTINGS: dict[str, dict[str, Any]] = {
    "observe": {"outputs": {"y": {"finite": True}}},
    "flag": {"outputs": {"y": {"finite": True, "range": [0, 1], "on_violation": "flag"}}},
    "clip": {"outputs": {"y": {"range": [0, 1], "on_violation": "clip"}}, "fallback": FALLBACK},
    "sum": {"outputs": {"y": {"sum": 1, "on_violation": "fallback"}}, "fallback": FALLBACK},
    "order": {"outputs": {"y": {"not_above": "x[1]", "on_violation": "fallback"}}, "fallback": FALLBACK},
    "refuse": {"outputs": {"y": {"range": [None, 1], "on_violation": "fallback"}}},
    "kept": {
        "outputs": {"y": {"range": [0, 1], "on_violation": "fallback"}},
        "fallback": [{"last_good": {}}, {"value": {"y": [[0.5, 0.5]]}}],
    },
    "budget": {
        "outputs": {"y": {"classes": True, "budget": {"label": 1, "at_most": 3, "window": "1h"}}},
        "fallback": FALLBACK,
    },
    "amount": {"outputs": {"y": {"budget": {"at_most": 10, "window": "24h"}}}},
    "each": {
        "outputs": {"y": {"classes": True, "budget": {"label": 1, "at_most": 5, "each": 2, "window": "24h"}}},
        "fallback": FALLBACK,
    },
    "rising": {
        "outputs": {"y": {"rises_with": "x[0]", "falls_with": "x[1]", "on_violation": "fallback"}},
        "fallback": FALLBACK,
    },
    "told": {
        "outputs": {"y": {"not_above": "x[1]", "budget": {"at_most": 10}, "on_violation": {"not_above": "clip"}}},
    },
}
PLACES = ("here", "raw", "typed")


class Upstream(ModelPeer):
    """Gives y = x, as typed contents where the model's name says so."""

    def held(self, request: Any, context: grpc.ServicerContext) -> Any:
        answer = super().held(request, context)
        if request.model_name.endswith("-typed"):
            values = np.frombuffer(answer.raw_output_contents[0], np.float32)
            answer.outputs[0].contents.fp32_contents.extend(values.tolist())
            answer.ClearField("raw_output_contents")
        return answer


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A key of each identity, and the file that the server knows them by."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    names = ("ann", "bob", "cid")
    return {name: modelward("token", "add", name, "--file", file).stdout.strip() for name in names} | {"": str(file)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, str]) -> Iterator[EmbeddedServer]:
    identity = models.identity(TensorProto.FLOAT, ("batch", 2))
    names = [f"{name}-{place}" for name in SETTINGS for place in PLACES[1:]]
    peer = Upstream({name: {"1": ("FP32", [-1, 2])} for name in names})
    with contextlib.ExitStack() as stack:
        address, _ = stack.enter_context(listening(peer))
        settings: dict[str, Any] = {}
        for name, of_model in SETTINGS.items():
            settings[f"models__{name}-here"] = of_model
            for place in PLACES[1:]:
                settings[f"models__{name}-{place}"] = of_model | {"upstreams": [address]}
        rules = [{"identity": "*", "by": "key", "models": ["*"]}, {"anonymous": True, "models": ["*"]}]
        settings["access"] = {"keys": str(keys[""]), "rules": rules}
        text = {key: repr(value).replace("None", "null") for key, value in settings.items()}
        root = tmp_path_factory.mktemp("guards")
        yield stack.enter_context(serving(root, {f"{name}-here": identity for name in SETTINGS}, **text))


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def values_of(response: Any) -> Any:
    (output,) = response.outputs
    if response.raw_output_contents:
        return array_of(output.datatype, output.shape, response.raw_output_contents[0]).tolist()
    return np.array(output.contents.fp32_contents).reshape(list(output.shape)).tolist()


def asked(model: str, *rows: list[float]) -> Any:
    array: Array = np.array(rows, np.float32)
    return request(model, {"x": array}, id="7")


def answered(stub: Stub, model: str, *rows: list[float], key: str = "") -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Numbers, parameters and trailers."""
    metadata = (("x-api-key", key),) if key else None
    response, call = stub.infer_call.with_call(asked(model, *rows), timeout=20, metadata=metadata)
    assert response.id == "7"
    return values_of(response), parameters(response), dict(call.trailing_metadata())


def refused(stub: Stub, model: str, *rows: list[float]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as found:
        stub.infer(asked(model, *rows))
    return found.value


def violations(server: EmbeddedServer, model: str, **labels: str) -> float:
    return server.metric("modelward_output_guard_violations_total", model=model, output="y", **labels)


def test_what_is_observed_is_counted_and_given_out(server: EmbeddedServer, stub: Stub, place: str) -> None:
    model = f"observe-{place}"
    assert answered(stub, model, [1, 2])[:2] == ([[1, 2]], {})
    assert violations(server, model) == 0
    values, said, trailers = answered(stub, model, [1, 2], [nan, inf])
    assert np.isnan(values[1][0])
    assert said == {}
    assert "modelward-output-guard" not in trailers
    assert violations(server, model, guard="finite", action="observe") == 1


def test_what_is_flagged_tells_the_client_which_guards(server: EmbeddedServer, stub: Stub, place: str) -> None:
    model = f"flag-{place}"
    assert answered(stub, model, [0, 1])[1] == {}
    values, said, trailers = answered(stub, model, [0.5, 1.5])
    assert (values, said) == ([[0.5, 1.5]], {"modelward_output_guard": "range"})
    assert trailers["modelward-output-guard"] == "range"
    assert answered(stub, model, [0.5, nan])[1] == {"modelward_output_guard": "finite,range"}


def test_what_is_clipped_is_moved_to_the_nearest_bound(stub: Stub, place: str) -> None:
    model = f"clip-{place}"
    values, said, _ = answered(stub, model, [-3, 0.25], [inf, 1])
    assert (values, said) == ([[0, 0.25], [1, 1]], {"modelward_output_guard": "range"})
    assert answered(stub, model, [nan, 0.25])[:2] == (
        [[0, 0]],
        {"modelward_fallback": "output_guard", "modelward_fallback_source": "value"},
    )


def test_what_may_not_be_given_out_is_answered_by_the_fallback_chain(
    server: EmbeddedServer, stub: Stub, place: str
) -> None:
    for model, good, bad in ((f"sum-{place}", [0.25, 0.75], [0.25, 0.5]), (f"order-{place}", [1, 1], [2, 1])):
        assert answered(stub, model, good, good)[:2] == ([good, good], {})
        values, said, trailers = answered(stub, model, good, bad)
        assert values == [[0, 0], [0, 0]]
        assert said == {"modelward_fallback": "output_guard", "modelward_fallback_source": "value"}
        assert trailers["modelward-fallback"] == "output_guard"
        assert server.metric("modelward_fallbacks_total", model=model, reason="OUTPUT_GUARD") == 1
        assert violations(server, model, action="fallback") == 1


def test_without_a_fallback_the_request_is_refused_in_words(stub: Stub, place: str) -> None:
    error = refused(stub, f"refuse-{place}", [0, 2])
    assert error.code() == StatusCode.INTERNAL
    assert error.details() == "the model's answer did not pass the checks of its outputs and is not given out"
    assert answered(stub, f"refuse-{place}", [-9, 1])[0] == [[-9, 1]]


def test_messages_of_a_stream_are_guarded_one_by_one(stub: Stub, place: str) -> None:
    messages = [asked(f"{name}-{place}", [0.5, 2]) for name in ("clip", "flag", "refuse")]
    messages.append(asked(f"clip-{place}", [nan, 2]))
    clipped, flagged, refusal, replaced = list(stub.stream(messages))
    assert values_of(clipped.infer_response) == [[0.5, 1]]
    assert parameters(flagged.infer_response).items() >= {"modelward_output_guard": "range"}.items()
    assert "checks of its outputs" in refusal.error_message
    assert values_of(replaced.infer_response) == [[0, 0]]


def test_a_last_good_answer_is_never_one_that_a_guard_has_refused(stub: Stub, place: str) -> None:
    model = f"kept-{place}"
    for _ in range(2):
        values, said, _ = answered(stub, model, [0.5, 7])
        assert values == [[0.5, 0.5]]
        assert said == {"modelward_fallback": "output_guard", "modelward_fallback_source": "value"}


def test_a_budget_of_approvals_is_never_passed(server: EmbeddedServer, stub: Stub, place: str) -> None:
    model = f"budget-{place}"
    approved, declined = [0.25, 0.75], [0.75, 0.25]
    assert answered(stub, model, approved, declined, approved)[1] == {}
    over = {"modelward_fallback": "output_budget", "modelward_fallback_source": "value"}
    assert answered(stub, model, approved, approved)[1] == over  # two do not fit: neither is counted
    assert answered(stub, model, approved)[1] == {}
    assert answered(stub, model, approved)[1] == over
    assert answered(stub, model, declined)[1] == {}
    assert violations(server, model, guard="budget", action="fallback") == 2
    assert server.metric("modelward_fallbacks_total", model=model, reason="OUTPUT_BUDGET") == 2


def test_a_budget_of_a_sum_refuses_what_does_not_fit_and_lets_through_what_does(stub: Stub, place: str) -> None:
    model = f"amount-{place}"
    assert answered(stub, model, [4, 3])[0] == [[4, 3]]
    error = refused(stub, model, [4, 0])
    assert error.code() == StatusCode.RESOURCE_EXHAUSTED
    assert "as many such answers as it may" in (error.details() or "")
    assert answered(stub, model, [2, -5])[0] == [[2, -5]]
    assert (
        refused(stub, model, [inf, 0]).code() == refused(stub, model, [nan, 0]).code() == StatusCode.RESOURCE_EXHAUSTED
    )


def test_no_caller_takes_more_of_a_budget_than_its_share(stub: Stub, keys: dict[str, str], place: str) -> None:
    model, approved, over = f"each-{place}", [0.25, 0.75], "output_budget"

    def fallback_of(name: str, *rows: list[float]) -> str | None:
        said = answered(stub, model, *rows, key=keys[name])[1]
        return said.get("modelward_fallback")

    assert fallback_of("ann", approved, approved, approved) == over  # takes nothing
    assert fallback_of("ann", approved) is None
    assert fallback_of("ann", approved, approved) == over
    assert fallback_of("ann", approved) is None
    assert fallback_of("ann", approved) == over
    assert fallback_of("bob", approved, approved) is None
    assert fallback_of("cid", approved, approved) == over  # five for all: what the budget refuses is no part of a share
    assert fallback_of("cid", approved) is None


def test_an_answer_rises_and_falls_with_the_inputs_that_are_named(server: EmbeddedServer, stub: Stub) -> None:
    def is_given_out(place: str, *rows: list[float]) -> bool:
        return "modelward_fallback" not in answered(stub, f"rising-{place}", *rows)[1]

    for (
        place
    ) in PLACES:  # y is x, and its last number is x[1]: it neither rises nor falls with x[0], and rises with x[1]
        assert is_given_out(place, [1, 5], [2, 5], [0, 5])
        assert is_given_out(place, [1, 5], [2, 7])  # two inputs are different
        assert not is_given_out(place, [0, 0], [1, 5], [1, 6])
        assert violations(server, f"rising-{place}", guard="falls_with", action="fallback") == 1
        assert violations(server, f"rising-{place}", guard="rises_with") == 0


def test_the_log_says_what_the_answer_had_and_what_it_should_have(stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    assert answered(stub, "told-here", [1, 2], [3, 2])[0] == [[1, 2], [2, 2]]
    refused(stub, "told-here", [6, 6])
    start = "model told-here version 1: 1 answers violate"
    for said in (
        f"{start} not_above of output y; the last seen id '7' row 1: 3, above 2",
        f"{start} budget of output y; the last seen id '7' asks for 12",
    ):
        wait_until(lambda said=said: said in caplog.text, said)


def test_an_answer_without_the_output_or_in_another_form_is_not_readable() -> None:
    class Wrong(ModelPeer):
        def held(self, request: Any, context: grpc.ServicerContext) -> Any:
            return RESPONSE(model_name=request.model_name)

    peer = Wrong({"m": {"1": ("FP32", [-1, 2])}})
    settings = {"models__m": repr({"outputs": {"y": {"finite": True, "on_violation": "fallback"}}})}
    with listening(peer) as (address, _), in_front(upstreams=[address], **settings) as running:
        with Stub(running.grpc) as opened:
            assert refused(opened, "m", [1, 2]).code() == StatusCode.INTERNAL
        assert running.metric("modelward_output_guard_violations_total", guard="readable", action="fallback") == 1
