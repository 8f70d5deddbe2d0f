"""Every datatype, raw and typed, through plain grpcio: what goes in comes out of an identity model unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

from tests import models
from tests.e2e.messages import CONTENTS, NUMPY, Array, Stub, arrays, request
from tests.support import EmbeddedServer, serving

ONNX = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
STRINGS = np.array([[b"", b"a", b"\xe2\x82\xac", b"long" * 500]], object)


def extremes(datatype: str) -> Array:
    """One row of four values at the edges of the datatype."""
    if datatype == "BYTES":
        return STRINGS
    kind = np.dtype(NUMPY[datatype])
    if datatype == "BOOL":
        return np.array([[True, False, True, True]])
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return np.array([[limits.min, limits.max, 0, 1]], kind)
    largest = ml_dtypes.finfo(kind).max
    return np.array([[largest, -largest, 0.5, -0.0]]).astype(kind)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    repository: dict[str, Any] = {
        datatype.lower(): models.identity(kind, ("batch", 4)) for datatype, kind in ONNX.items()
    }
    repository["scalar"] = models.identity(TensorProto.INT64, ())
    repository["anything"] = models.identity(TensorProto.FLOAT, ("a", "b", "c"))
    with serving(tmp_path_factory.mktemp("datatypes"), repository) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


def same(answer: Array, sent: Array) -> bool:
    return answer.dtype == sent.dtype and answer.shape == sent.shape and answer.tolist() == sent.tolist()


@pytest.mark.parametrize("datatype", ONNX)
@pytest.mark.parametrize("rows", [1, 5])
def test_raw_contents_come_back_unchanged(stub: Stub, datatype: str, rows: int) -> None:
    sent = np.concatenate([np.roll(extremes(datatype), i, axis=1) for i in range(rows)])
    response = stub.infer(request(datatype.lower(), {"x": sent}))
    assert response.outputs[0].datatype == datatype
    assert same(arrays(response)["y"], sent)


@pytest.mark.parametrize("datatype", CONTENTS)
@pytest.mark.parametrize("rows", [1, 5])
def test_typed_contents_come_back_unchanged(stub: Stub, datatype: str, rows: int) -> None:
    sent = np.concatenate([np.roll(extremes(datatype), i, axis=1) for i in range(rows)])
    assert same(arrays(stub.infer(request(datatype.lower(), {"x": sent}, typed=True)))["y"], sent)


@pytest.mark.parametrize("datatype", sorted(set(ONNX) - {"BYTES"}))
def test_metadata_calls_the_datatype_by_the_protocols_name(stub: Stub, datatype: str) -> None:
    metadata = stub.ask("ModelMetadata", name=datatype.lower())
    assert (metadata.inputs[0].datatype, list(metadata.inputs[0].shape)) == (datatype, [-1, 4])
    assert stub.ask("ModelConfig", name=datatype.lower()).config.input[0].dims == [4]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_passed_on(stub: Stub, value: float) -> None:
    answer = arrays(stub.infer(request("fp32", {"x": np.full((1, 4), value, np.float32)})))["y"]
    np.testing.assert_array_equal(answer, np.full((1, 4), value, np.float32))


def test_a_scalar_needs_no_dimension(stub: Stub) -> None:
    assert arrays(stub.infer(request("scalar", {"x": np.array(7)})))["y"] == 7


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (3, 0, 2), (1, 0, 0), (7, 1, 100)])
def test_dimensions_may_be_anything_where_the_model_leaves_them_open(stub: Stub, shape: tuple[int, ...]) -> None:
    sent = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert same(arrays(stub.infer(request("anything", {"x": sent})))["y"], sent)


def test_a_large_message_travels_whole(stub: Stub) -> None:
    sent = np.random.default_rng(0).normal(size=(250_000, 4)).astype(np.float32)  # 4 MB, many windows
    with Stub(stub.address, **{"grpc.max_receive_message_length": -1}) as large:
        assert same(arrays(large.infer(request("fp32", {"x": sent})))["y"], sent)
