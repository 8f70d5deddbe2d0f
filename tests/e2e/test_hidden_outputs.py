"""Outputs that guards and evidence look at are made whatever a client asks for, and it gets what it has asked for."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.rpc.protocol import message_class
from modelward.server import pressure
from modelward_native.outputs.guards import OutputGuards
from tests import models
from tests.e2e.messages import RESPONSE, Stub, parameters, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_relay import listening
from tests.support import EmbeddedServer, serving, wait_until

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


class Narrow(Upstream):
    """Has the output y alone, and refuses to be asked for another."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.seen: list[list[str]] = []
        self.infer = self.one

    def one(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.seen.append([output.name for output in request.outputs])
        if "z" in self.seen[-1]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such output")
        request.outputs.add(name="y")
        del request.outputs[1:]
        return self.both(request, context)

    def _metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        answer = super()._metadata(request, context)
        del answer.outputs[1:]
        return answer


@pytest.fixture(scope="module")
def peer() -> Upstream:
    return Upstream([*(f"{name}-{place}" for name in SETTINGS for place in PLACES[1:]), "replaced", "other"])


@pytest.fixture(scope="module")
def narrow() -> Narrow:
    return Narrow(["shadowed"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, peer: Upstream, narrow: Narrow) -> Iterator[EmbeddedServer]:
    with contextlib.ExitStack() as stack:
        address, _ = stack.enter_context(listening(peer))
        shadow, _ = stack.enter_context(listening(narrow))
        settings: dict[str, Any] = {}
        for name, of_model in SETTINGS.items():
            settings[f"models__{name}-here"] = of_model
            for place in PLACES[1:]:
                settings[f"models__{name}-{place}"] = of_model | {"upstreams": [address]}
        settings["models__replaced"] = SETTINGS["told"] | {"upstreams": [address], "fallback": [{"model": "other"}]}
        settings["models__other"] = {"upstreams": [address]}
        settings["models__shadowed"] = SETTINGS["range"] | {"shadow": [{"upstreams": [shadow], "warmup": 0}]}
        text = {key: repr(value).replace("None", "null") for key, value in settings.items()}
        root = tmp_path_factory.mktemp("hidden")
        here = [*(f"{name}-here" for name in SETTINGS), "shadowed"]
        yield stack.enter_context(serving(root, dict.fromkeys(here, models.both_signs()), **text))


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
    for model, outputs, all_of_them in (
        ("range", ["y", "z"], ["y", "z"]),
        ("watched", ["y", "z"], ["y", "z"]),
        ("plain", ["y"], []),
    ):
        assert values(stub.infer(asked(f"{model}-raw", [1, 1], "y"))) == {"y": [1, 1]}
        assert peer.last == outputs
        assert values(stub.infer(asked(f"{model}-raw", [1, 1]))) == {"y": [1, 1], "z": [-1, -1]}
        assert peer.last == all_of_them


@contextlib.contextmanager
def answering(peer: Upstream, infer: Any) -> Iterator[None]:
    peer.infer = infer
    try:
        yield
    finally:
        peer.infer = peer.both


def refused(stub: Stub, message: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as error:
        stub.infer(message)
    return error.value.code()


def test_an_upstream_that_gives_one_output_unless_others_are_named_is_looked_at(
    server: EmbeddedServer, peer: Upstream, stub: Stub
) -> None:
    def first(request: Any, context: grpc.ServicerContext) -> Any:
        if request.model_name == "replaced":
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        if not request.outputs:
            request.outputs.add(name="y")
        return peer.both(request, context)

    def violations(model: str, guard: str) -> float:
        return server.metric("modelward_output_guard_violations_total", model=model, guard=guard)

    with answering(peer, first):
        assert values(stub.infer(asked("range-raw", [0.25, 1]))) == {"y": [0.25, 1], "z": [-0.25, -1]}
        before = violations("told-raw", "range")
        assert parameters(stub.infer(asked("told-raw", [2, 2])))["modelward_output_guard"] == "range"
        assert violations("told-raw", "range") == before + 1
        assert violations("told-raw", "readable") == violations("range-raw", "readable") == 0
        assert parameters(stub.infer(asked("replaced", [2, 2])))["modelward_output_guard"] == "range"
        assert values(stub.infer(asked("plain-raw", [1, 1]))) == {"y": [1, 1]}


def test_a_shadow_on_other_upstreams_is_asked_in_the_clients_words_and_compared_in_them(
    server: EmbeddedServer, narrow: Narrow, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shadow(name: str, **labels: str) -> float:
        return server.metric(f"modelward_shadow_{name}_total", model="shadowed", **labels)

    def compared() -> bool:
        stub.infer(asked("shadowed", [1, 0.5], "y"))
        return shadow("pairs", outcome="compared") >= 4

    monkeypatch.setattr(pressure, "LOOP_BUSY", inf)
    monkeypatch.setattr(pressure, "STARVED", inf)
    wait_until(compared, "pairs")
    assert narrow.seen.count(["y"]) == len(narrow.seen)
    assert shadow("mismatches", kind="missing") == shadow("disagreeing_pairs") == 0


@pytest.mark.parametrize(
    "outputs",
    [["y typed", "z raw"], ["y", "z raw"], ["z typed", "y raw"], ["y typed", "z typed raw", "raw"], ["z raw"]],
)
def test_numbers_of_a_hidden_output_go_out_under_no_other_name(peer: Upstream, stub: Stub, outputs: list[str]) -> None:
    def mixed(request: Any, context: grpc.ServicerContext) -> Any:
        answer = RESPONSE(model_name=request.model_name, model_version="1")
        for text in outputs:
            name, *forms = text.split()
            if name != "raw":
                output = answer.outputs.add(name=name, datatype="FP32", shape=[1, 2])
            if "typed" in forms:
                output.contents.fp32_contents.extend([7, 7])
            if "raw" in (name, *forms):
                answer.raw_output_contents.append(np.array([7, 7], np.float32).tobytes())
        return answer

    with answering(peer, mixed):
        for model in ("told-raw", "watched-raw"):
            assert refused(stub, asked(model, [1, 1], "y")) == grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("given", [[], ["z"]])
def test_an_answer_that_holds_nothing_of_what_was_asked_for_is_none(
    peer: Upstream, stub: Stub, given: list[str]
) -> None:
    def other(request: Any, context: grpc.ServicerContext) -> Any:
        answer = RESPONSE(model_name=request.model_name, model_version="1")
        for name in given:
            answer.outputs.add(name=name, datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([0, 0])
        return answer

    with answering(peer, other):
        assert refused(stub, asked("told-typed", [1, 1], "y")) == grpc.StatusCode.INTERNAL


def test_an_answer_from_which_an_output_cannot_be_taken_out_is_not_given_out(peer: Upstream, stub: Stub) -> None:
    def endless(request: Any, context: grpc.ServicerContext) -> Any:
        answer = peer.both(request, context)
        for i in range(300):
            answer.outputs.add(name=f"more-{i}", datatype="FP32", shape=[0])
        return answer

    with answering(peer, endless):
        assert refused(stub, asked("watched-typed", [1, 1], "y")) == grpc.StatusCode.INTERNAL
