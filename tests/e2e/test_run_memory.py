"""Small requests that would make large answers are refused, and memory that runs have taken is given back."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.e2e.messages import Array, Stub, arrays, refused, request
from tests.e2e.test_armour import resident
from tests.support import ServerProcess, serve_process

MIB = 2**20
ROW = np.ones((1, 4), np.float32)


def sized_by_value(operator: str) -> bytes:
    """shape INT64 [2] -> y FP32 of that shape."""
    one = numpy_helper.from_array(np.ones((1, 1), np.float32), "one")
    given = ["one", "shape"] if operator in {"Expand", "Tile"} else ["shape"]
    return models.model(
        [helper.make_node(operator, given, ["y"])],
        [models.tensor("shape", TensorProto.INT64, [2])],
        [models.tensor("y", TensorProto.FLOAT, ["a", "b"])],
        [one],
    ).SerializeToString()


def widening() -> bytes:
    """x FP32 [batch, inner, open] -> the sum over its last dimension, times a row of 64: something out of nothing."""
    return models.model(
        [
            helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["sum", "row"], ["y"]),
        ],
        [models.tensor("x", TensorProto.FLOAT, ["batch", "inner", "open"])],
        [models.tensor("y", TensorProto.FLOAT, ["batch", "inner", 64])],
        [
            numpy_helper.from_array(np.array([2], np.int64), "axes"),
            numpy_helper.from_array(np.ones((1, 1, 64), np.float32), "row"),
        ],
    ).SerializeToString()


OPERATORS = ("Expand", "Tile", "ConstantOfShape")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("memory")
    repository = {operator.lower(): sized_by_value(operator) for operator in OPERATORS}
    root = models.repository(
        folder / "models", repository | {"wide": widening(), "add": models.add_one(), "tight": models.add_one()}
    )
    sets = [f"state={folder / 'state'}", "workers=1", "models.tight.run_memory=1MiB"]
    with serve_process(root, *(argument for each in sets for argument in ("--set", each))) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: ServerProcess) -> Iterator[Stub]:
    with Stub(server.grpc, **{"grpc.max_receive_message_length": -1}) as opened:
        yield opened


def shape(*sizes: int) -> dict[str, Array]:
    return {"shape": np.array(sizes, np.int64)}


@pytest.mark.parametrize("model", [operator.lower() for operator in OPERATORS])
def test_an_answer_that_an_inputs_value_makes_enormous_is_refused(
    server: ServerProcess, stub: Stub, model: str
) -> None:
    assert arrays(stub.infer(request(model, shape(3, 5))))["y"].shape == (3, 5)
    before, workers = server.resident_bytes(), server.workers()
    for size in (8 * MIB, 2**28):
        for _ in range(4):
            found = refused(stub, request(model, shape(1, size)))
            assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RUN_MEMORY")
            assert "more memory for this input" in found.message
    assert server.resident_bytes() - before < 64 * MIB
    assert server.workers() == workers
    assert arrays(stub.infer(request("add", {"x": ROW})))["y"].shape == (1, 4)


def test_dimensions_beside_a_zero_take_no_memory(server: ServerProcess, stub: Stub) -> None:
    before = server.resident_bytes()
    for sizes in ((1, 2**28, 0), (3, 2**24, 0), (2**20, 2**20, 0), (1, 1025, 0)):
        found = refused(stub, request("wide", {"x": np.zeros(sizes, np.float32)}))
        assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert arrays(stub.infer(request("wide", {"x": np.zeros((1, 1000, 0), np.float32)})))["y"].shape == (1, 1000, 64)
    assert server.resident_bytes() - before < 64 * MIB


@resident
def test_memory_of_a_large_answer_is_given_back(server: ServerProcess, stub: Stub) -> None:
    rows = np.ones((MIB, 4), np.float32)[: 15 * MIB // 16]
    assert arrays(stub.infer(request("add", {"x": rows})))["y"].shape == rows.shape
    before = server.resident_bytes()
    for _ in range(4):
        stub.infer(request("add", {"x": rows}))
    assert server.resident_bytes() - before < 64 * MIB


def test_a_model_may_be_given_less(stub: Stub) -> None:
    assert arrays(stub.infer(request("tight", {"x": ROW})))["y"].shape == (1, 4)
    found = refused(stub, request("tight", {"x": np.ones((MIB // 4, 4), np.float32)}))
    assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RUN_MEMORY")
