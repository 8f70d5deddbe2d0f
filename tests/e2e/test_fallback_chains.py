"""Fallback chains between models whose inputs and outputs are in different orders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import RESPONSE, Array, Stub, arrays, parameters, refused, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_relay import listening
from tests.e2e.test_upstream_changes import FOUR
from tests.support import EmbeddedServer, serving

MANY = 6  # more inputs and dimensions than an exchange has room for without taking memory
NAMES = [f"in{i}" for i in range(MANY)]


def failing(node: str) -> list[Any]:
    """Nodes that pass `node` on as `checked` where its values are 0 or 1 and fail the run elsewhere."""
    return [
        helper.make_node("Cast", [node], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["pair", "index"], ["checked"], axis=0),
    ]


PAIR = numpy_helper.from_array(np.array([0, 1], np.float32), "pair")


def column(name: str) -> Any:
    return models.tensor(name, TensorProto.FLOAT, ["batch", 1, 1])


def wide() -> bytes:
    """in0...in5 FP32 [batch, 1, 1] -> total, their sum, and first, in0; fails where in0 is neither 0 nor 1."""
    return models.model(
        [*failing("in0"), helper.make_node("Sum", ["checked", *NAMES[1:]], ["total"]),
         helper.make_node("Identity", ["checked"], ["first"])],
        [column(name) for name in NAMES],
        [column("total"), column("first")],
        [PAIR],
    ).SerializeToString()  # fmt: skip


def other() -> bytes:
    """in5...in0 -> first = in0, total = in4 - in2: inputs and outputs in another order."""
    return models.model(
        [helper.make_node("Identity", ["in0"], ["first"]), helper.make_node("Sub", ["in4", "in2"], ["total"])],
        [column(name) for name in reversed(NAMES)],
        [column("first"), column("total")],
    ).SerializeToString()


def doubtful_text() -> bytes:
    """x FP32 [batch, 1, 1], text BYTES [batch, 2] -> checked, and echo of text; fails where x is neither 0 nor 1."""
    return models.model(
        [*failing("x"), helper.make_node("Identity", ["text"], ["echo"])],
        [column("x"), models.tensor("text", TensorProto.STRING, ["batch", 2])],
        [column("checked"), models.tensor("echo", TensorProto.STRING, ["batch", 2])],
        [PAIR],
    ).SerializeToString()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    repository = {"wide": wide(), "other": other(), "both": wide(), "text": doubtful_text(), "failing": wide()}
    settings: dict[str, Any] = {
        "models__wide__fallback": "[{model: other}]",
        "models__both__fallback": "[{model: failing}, {model: other}]",
        "models__text__fallback": '[{value: {checked: [[[7]]], echo: [["no", "idea"]]}}]',
    }
    with serving(tmp_path_factory.mktemp("chains"), repository, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


def inputs(first: float, rows: int = 1) -> dict[str, Array]:
    """in0 is `first`, the others are 10, 20..., each row a thousand above the one before it."""
    offsets = 1000 * np.arange(rows, dtype=np.float32).reshape(rows, 1, 1)
    made = {name: offsets + 10 * i for i, name in enumerate(NAMES)}
    made["in0"] = np.full((rows, 1, 1), first, np.float32)
    return made


def test_the_model_itself_answers_while_it_can(stub: Stub) -> None:
    response = stub.infer(request("wide", inputs(1, rows=2)))
    assert {name: a.ravel().tolist() for name, a in arrays(response).items()} == {
        "total": [151.0, 5151.0],
        "first": [1.0, 1.0],
    }
    assert parameters(response) == {}


@pytest.mark.parametrize("model", ["wide", "both"])
@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_another_model_gets_its_inputs_by_name_and_its_outputs_go_by_name(
    stub: Stub, model: str, typed: bool, order: int
) -> None:
    sent = dict(list(inputs(5, rows=3).items())[::order])
    response = stub.infer(request(model, sent, typed=typed))
    assert [output.name for output in response.outputs] == ["total", "first"]
    assert {name: a.ravel().tolist() for name, a in arrays(response).items()} == {
        "total": [20.0] * 3,
        "first": [5.0] * 3,
    }
    assert parameters(response) == {"modelward_fallback": "failure", "modelward_fallback_source": "model:other"}


def test_the_outputs_asked_for_are_those_of_the_model_asked(stub: Stub) -> None:
    for wanted in (["first"], ["first", "total"], ["total"]):
        response = stub.infer(request("wide", inputs(5), outputs=wanted))
        assert {name: a.item() for name, a in arrays(response).items()} == {
            name: {"first": 5.0, "total": 20.0}[name] for name in wanted
        }


def test_requests_that_fall_share_the_other_models_run_with_its_own(server: EmbeddedServer, stub: Stub) -> None:
    before = stub.statistics("other").execution_count
    messages = []
    for i in range(40):
        messages.append(request("wide" if i % 2 else "other", inputs(i)))
    with H2Client(server.grpc) as client:
        replies = client.calls(framed(message.SerializeToString()) for message in messages)
    for i, reply in enumerate(replies):
        if i != 1:  # the only one that the wide model takes
            assert arrays(RESPONSE.FromString(reply.messages[0][1]))["first"].item() == i
    assert stub.statistics("other").execution_count - before < 30


def test_a_fallback_chain_that_ends_in_failure_is_a_failure(stub: Stub) -> None:
    assert refused(stub, request("failing", inputs(5))).reason == "BACKEND_FAILED"


@pytest.mark.parametrize("version", ["", "1"])
@pytest.mark.parametrize("code", [StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.UNAVAILABLE])
def test_where_another_models_upstream_refuses_the_next_is_asked_and_the_client_is_told_nothing_of_it(
    tmp_path: Path, code: StatusCode, version: str
) -> None:
    def aborting(code: StatusCode) -> Any:
        def infer(message: Any, context: grpc.ServicerContext) -> Any:
            context.set_trailing_metadata((("x-whose", message.model_name),))
            context.abort(code, f"words of {message.model_name}")

        return infer

    asked, standing_in = ModelPeer({"goes_on": {"1": FOUR}, "ends": {"1": FOUR}}), ModelPeer({"other": {"1": FOUR}})
    asked.infer, standing_in.infer = aborting(StatusCode.UNAVAILABLE), aborting(code)
    chains = {"goes_on": "[{model: other}, {model: add}]", "ends": "[{model: other}]"}
    with contextlib.ExitStack() as stack:
        address = {peer: stack.enter_context(listening(peer))[0] for peer in (asked, standing_in)}
        settings: dict[str, Any] = {f"models__{name}__fallback": chain for name, chain in chains.items()}
        settings |= {f"models__{name}__upstreams": f"[{address[asked]}]" for name in chains}
        settings["models__other__upstreams"] = f"[{address[standing_in]}]"
        server = stack.enter_context(serving(tmp_path, {"add": models.add_one()}, **settings))
        stub = stack.enter_context(Stub(server.grpc))
        row = {"x": np.ones((1, 4), np.float32)}
        response = stub.infer(request("goes_on", row, version=version))
        assert parameters(response) == {"modelward_fallback": "failure", "modelward_fallback_source": "model:add"}
        with pytest.raises(grpc.RpcError) as error:
            stub.infer(request("ends", row, version=version))
        assert standing_in.asked["ModelInfer"] == 2
        assert error.value.code() is StatusCode.INTERNAL
        assert "other" not in str(error.value.details()) + str(error.value.trailing_metadata())


def test_a_value_may_be_of_strings(stub: Stub) -> None:
    text = np.array([[b"a", b"b"], [b"c", b"d"]], object)
    good = stub.infer(request("text", {"x": np.ones((2, 1, 1), np.float32), "text": text}))
    assert arrays(good)["echo"].tolist() == text.tolist()
    fallen = stub.infer(request("text", {"x": np.full((2, 1, 1), 9, np.float32), "text": text}))
    assert arrays(fallen)["echo"].tolist() == [[b"no", b"idea"]] * 2
    assert arrays(fallen)["checked"].ravel().tolist() == [7.0, 7.0]
