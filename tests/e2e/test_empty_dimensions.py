"""Dimensions of 0: answered where the model bears them, refused where the runtime would die of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.e2e.messages import Array, Stub, arrays, parameters, refused, request
from tests.support import ServerProcess, serve_process

ROW = np.ones((1, 4), np.float32)
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def short_sequences_fail() -> bytes:
    """As models.gru takes and gives, and no dimension of 0 kills it; but a sequence below 100 fails."""
    constants = {"one": [1], "two_hundred": [200], "axis": [0]}
    return models.model(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Gather", ["shape", "one"], ["length"]),
            helper.make_node("Sub", ["length", "two_hundred"], ["index"]),
            helper.make_node("Gather", ["zeros", "index"], ["nothing"]),
            helper.make_node("ReduceSum", ["x", "one"], ["sum"], keepdims=0),
            helper.make_node("Concat", ["sum", "sum"], ["twice"], axis=1),
            helper.make_node("Unsqueeze", ["twice", "axis"], ["up"]),
            helper.make_node("Add", ["up", "nothing"], ["y"]),
        ],
        [models.tensor("x", TensorProto.FLOAT, ["batch", "sequence", 4])],
        [models.tensor("y", TensorProto.FLOAT, [1, "batch", 8])],
        [
            numpy_helper.from_array(np.zeros(100, np.float32), "zeros"),
            *(numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()),
        ],
    ).SerializeToString()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("empty")
    root = models.repository(
        folder / "models",
        {
            "add": models.add_one(),
            "mlp": models.mlp(),
            "text": models.strings(),
            "past": models.with_past(),
            "gru": models.gru(),
            "voice": models.voice_activity(),
            "long": short_sequences_fail(),
        },
    )
    sets = [f"state={folder / 'state'}", "workers=1", 'models.long.fallback=[{"model": "gru"}]']
    with serve_process(root, *(argument for each in sets for argument in ("--set", each))) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: ServerProcess) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


def answer(stub: Stub, model: str, inputs: dict[str, Array], **options: Any) -> dict[str, Array]:
    return arrays(stub.infer(request(model, inputs, **options)))


def empty(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def test_no_rows_are_answered_with_no_rows(stub: Stub) -> None:
    assert answer(stub, "add", {"x": empty(0, 4)})["y"].shape == (0, 4)
    found = answer(stub, "mlp", {"input": empty(0, 30)})
    assert (found["label"].shape, found["probabilities"].shape) == ((0,), (0, 2))
    assert answer(stub, "text", {"text": np.zeros((0, 2), object)})["echo"].shape == (0, 2)
    assert answer(stub, "add", {"x": empty(0, 4)}, typed=True)["y"].shape == (0, 4)


def test_no_rows_disturb_no_other_request_of_the_same_run(stub: Stub) -> None:
    def ask(rows: int) -> int:
        given = np.full((rows, 4), rows, np.float32)
        found = answer(stub, "add", {"x": given})["y"]
        assert (found == given + 1).all()
        return len(found)

    wanted = [0, 1, 2, 0, 3] * 40
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, wanted)) == wanted


def test_a_decoder_begins_without_a_past(stub: Stub) -> None:
    step = np.ones((2, 2, 1, 3), np.float32)
    present = answer(stub, "past", {"past": empty(2, 2, 0, 3), "x": step})["present"]
    assert present.shape == (2, 2, 1, 3)
    assert answer(stub, "past", {"past": present, "x": step})["present"].shape == (2, 2, 2, 3)


@pytest.mark.parametrize(
    ("model", "inputs", "words"),
    [
        ("gru", {"x": empty(1, 0, 4)}, "input 'x': the model does not take 0 for dimension 1"),
        ("voice", {"input": empty(0, 512), "state": empty(2, 0, 16)}, "'input': .* 0 for dimension 0"),
        ("voice", {"input": empty(1, 512), "state": empty(2, 0, 16)}, "'state': .* 0 for dimension 1"),
    ],
)
def test_what_the_runtime_dies_of_is_refused(
    server: ServerProcess, stub: Stub, model: str, inputs: dict[str, Array], words: str
) -> None:
    before = server.workers()
    found = refused(stub, request(model, inputs))
    assert (found.code, found.reason) == (INVALID, "INVALID_INPUT")
    assert re.search(words, found.message)
    assert answer(stub, "add", {"x": ROW})["y"].shape == (1, 4)
    assert server.workers() == before, "no worker has died"


def test_a_fallback_that_would_die_of_it_is_not_asked(server: ServerProcess, stub: Stub) -> None:
    before = server.workers()
    fallen = stub.infer(request("long", {"x": np.ones((1, 3, 4), np.float32)}))
    assert parameters(fallen)["modelward_fallback_source"] == "model:gru"
    assert refused(stub, request("long", {"x": empty(1, 0, 4)})).reason == "BACKEND_FAILED"
    assert server.workers() == before, "no worker has died"


def test_it_is_refused_in_an_ordinary_request_of_that_model_too(stub: Stub) -> None:
    """The model itself goes on."""
    assert answer(stub, "gru", {"x": np.ones((2, 3, 4), np.float32)})["y"].shape == (1, 2, 8)
    found = answer(stub, "voice", {"input": np.ones((1, 512), np.float32), "state": empty(2, 1, 16)})
    assert found["stateN"].shape == (2, 1, 16)
