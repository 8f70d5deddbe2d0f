"""Outputs that guards and evidence look at are made whatever a client asks for, and it gets what it has asked for."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.rpc.protocol import message_class
from modelward_native.outputs.guards import OutputGuards
from tests import models
from tests.e2e.messages import RESPONSE, Stub, parameters, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_relay import listening
from tests.support import EmbeddedServer, serving

FALLBACK = [{"value": {"y": [[0.5, 0.5]], "z": [[9, 9]]}}]
SETTINGS: dict[str, dict[str, Any]] = {
    "range": {"outputs": {"z": {"range": [-1, None], "on_violation": "fallback"}}, "fallback": FALLBACK},
    "order": {"outputs": {"y": {"not_above": "z", "on_violation": "fallback"}}},
    "budget": {"outputs": {"z": {"budget": {"above": 0, "at_most": 2, "window": "1h"}}}},
    "share": {
        "outputs": {
            "y": {"budget": {"above": 0, "at_most": 10, "each": 1, "window": "1h"}, "on_violation": {"budget": "flag"}},
            "z": {"budget": {"above": 0, "at_most": 1, "window": "1h"}},
        }
    },
    "told": {"outputs": {"z": {"range": [-1, None], "on_violation": "flag"}}},
    "watched": {"detection": {"mode": "observe"}, "outputs": {"z": {"classes": True}}},
    "plain": {},
}
PLACES = ("here", "raw", "typed")


class Upstream(ModelPeer):
    """Gives y = x and z = -x: of these what is asked for, in that order; as typed contents where its name says so."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__({name: {"1": ("FP32", [-1, 2])} for name in names})
        self.last: list[str] = []
        self.infer = self.both

    def both(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.last = [output.name for output in request.outputs]
        answer = RESPONSE(model_name=request.model_name, model_version="1", id=request.id)
        x = np.frombuffer(request.raw_input_contents[0], np.float32)
        for name in self.last or ["y", "z"]:
            output = answer.outputs.add(name=name, datatype="FP32", shape=request.inputs[0].shape)
            values = x if name == "y" else -x
            if request.model_name.endswith("-typed"):
                output.contents.fp32_contents.extend(values.tolist())
            else:
                answer.raw_output_contents.append(values.tobytes())
        return answer

    def _metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        answer = message_class("inference.ModelMetadataResponse")(name=request.name, versions=["1"])
        answer.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
        for name in ("y", "z"):
            answer.outputs.add(name=name, datatype="FP32", shape=[-1, 2])
        return answer


@pytest.fixture(scope="module")
def peer() -> Upstream:
    return Upstream([f"{name}-{place}" for name in SETTINGS for place in PLACES[1:]])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, peer: Upstream) -> Iterator[EmbeddedServer]:
    with contextlib.ExitStack() as stack:
        address, _ = stack.enter_context(listening(peer))
        settings: dict[str, Any] = {}
        for name, of_model in SETTINGS.items():
            settings[f"models__{name}-here"] = of_model
            for place in PLACES[1:]:
                settings[f"models__{name}-{place}"] = of_model | {"upstreams": [address]}
        text = {key: repr(value).replace("None", "null") for key, value in settings.items()}
        root = tmp_path_factory.mktemp("hidden")
        yield stack.enter_context(serving(root, {f"{name}-here": models.both_signs() for name in SETTINGS}, **text))


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asked(model: str, row: list[float], *outputs: str) -> Any:
    return request(model, {"x": np.array([row], np.float32)}, id="7", outputs=outputs)


def values(response: Any) -> dict[str, list[float]]:
    raw = [np.frombuffer(contents, np.float32).tolist() for contents in response.raw_output_contents]
    typed = [list(output.contents.fp32_contents) for output in response.outputs]
    assert not raw or len(raw) == len(response.outputs)
    return dict(zip([output.name for output in response.outputs], raw or typed, strict=True))


def test_a_guard_looks_at_an_output_that_the_client_leaves_out_and_does_not_send_it(
    server: EmbeddedServer, stub: Stub, place: str
) -> None:
    model = f"range-{place}"
    good = stub.infer(asked(model, [0.25, 1], "y"))
    assert (values(good), parameters(good), good.id) == ({"y": [0.25, 1]}, {}, "7")
    replaced = stub.infer(asked(model, [0.25, 2], "y"))
    assert values(replaced) == {"y": [0.5, 0.5]}
    assert parameters(replaced)["modelward_fallback"] == "output_guard"
    labels = {"model": model, "output": "z", "guard": "range", "action": "fallback"}
    assert server.metric("modelward_output_guard_violations_total", **labels) == 1
    assert server.metric("modelward_output_guard_violations_total", model=model, guard="readable") == 0


def test_a_client_gets_what_it_asks_for_in_its_order(stub: Stub, place: str) -> None:
    for outputs in (["z"], ["z", "y"], ["y", "z"], []):
        answer = values(stub.infer(asked(f"range-{place}", [0.25, 1], *outputs)))
        assert list(answer) == (outputs or ["y", "z"])
        assert answer == {name: [0.25, 1] if name == "y" else [-0.25, -1] for name in answer}


def test_what_bounds_an_output_is_looked_at_too(stub: Stub, place: str) -> None:
    model = f"order-{place}"
    assert values(stub.infer(asked(model, [-1, 0], "y"))) == {"y": [-1, 0]}
    for outputs in (["y"], ["z"]):
        with pytest.raises(grpc.RpcError) as refused:
            stub.infer(asked(model, [-1, 1], *outputs))
        assert refused.value.code() == grpc.StatusCode.INTERNAL


def test_a_budget_counts_answers_from_which_its_output_is_left_out(stub: Stub, place: str) -> None:
    model = f"budget-{place}"
    for _ in range(2):
        assert values(stub.infer(asked(model, [-1, -1], "y"))) == {"y": [-1, -1]}
    assert values(stub.infer(asked(model, [1, 1], "y"))) == {"y": [1, 1]}
    with pytest.raises(grpc.RpcError) as refused:
        stub.infer(asked(model, [-1, -1], "y"))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_how_much_of_a_budget_is_used_is_a_metric(server: EmbeddedServer, stub: Stub) -> None:
    def used(output: str) -> float:
        return server.metric("modelward_output_budget_used", model="share-raw", output=output)

    assert (used("y"), used("z")) == (0, 0)
    stub.infer(asked("share-raw", [1, -1]))
    assert (used("y"), used("z")) == (0.1, 1)
    assert 'modelward_output_budget_used{model="range-raw"' not in server.page("/metrics")[1]


def test_an_answer_that_a_budget_refuses_gives_back_no_share_that_it_did_not_take(stub: Stub) -> None:
    stub.infer(asked("share-typed", [1, -1]))  # the caller's share of y, and the budget of z
    with pytest.raises(grpc.RpcError):
        stub.infer(asked("share-typed", [1, -1]))
    assert parameters(stub.infer(asked("share-typed", [1, 1])))["modelward_output_guard"] == "budget"


def test_a_process_keeps_no_table_of_shares_beside_that_of_all(server: EmbeddedServer) -> None:
    guards = [each for each in gc.get_objects() if isinstance(each, OutputGuards)]
    assert len(guards) >= len(PLACES)
    assert sum(each.held for each in guards) == 0


def test_messages_of_a_stream_hold_no_output_that_was_not_asked_for(stub: Stub, place: str) -> None:
    messages = [asked(f"told-{place}", row, "y") for row in ([1, 1], [2, 2])]
    first, second = (message.infer_response for message in stub.stream(messages))
    assert (values(first), values(second)) == ({"y": [1, 1]}, {"y": [2, 2]})
    assert "modelward_output_guard" not in parameters(first)
    assert parameters(second)["modelward_output_guard"] == "range"


def test_an_upstream_is_asked_for_what_is_looked_at_and_for_no_more(peer: Upstream, stub: Stub) -> None:
    for model, outputs in (("range", ["y", "z"]), ("watched", ["y", "z"]), ("plain", ["y"])):
        assert values(stub.infer(asked(f"{model}-raw", [1, 1], "y"))) == {"y": [1, 1]}
        assert peer.last == outputs
        stub.infer(asked(f"{model}-raw", [1, 1]))
        assert peer.last == []


def test_an_answer_from_which_an_output_cannot_be_taken_out_is_not_given_out(peer: Upstream, stub: Stub) -> None:
    def endless(request: Any, context: grpc.ServicerContext) -> Any:
        answer = peer.both(request, context)
        for i in range(300):
            answer.outputs.add(name=f"more-{i}", datatype="FP32", shape=[0])
        return answer

    peer.infer = endless
    try:
        with pytest.raises(grpc.RpcError) as refused:
            stub.infer(asked("watched-typed", [1, 1], "y"))
    finally:
        peer.infer = peer.both
    assert refused.value.code() == grpc.StatusCode.INTERNAL
