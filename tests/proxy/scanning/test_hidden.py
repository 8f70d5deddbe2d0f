"""What is hidden where nobody looks: in names, in numbers that are kept apart, in trips that are computed."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.onnx_ml_pb2 import NodeProto

from modelward.scanning.scanner import scan_at_load
from tests.proxy.scanning.bad_models import CALL_2, ELF, computed_trips, good, scalar


def rules(folder: Path, model: bytes) -> set[str]:
    (folder / "model.onnx").write_bytes(model)
    return {each.rule for each in scan_at_load(folder, folder / "model.onnx", model)}


def test_the_name_of_a_graph_is_searched(tmp_path: Path) -> None:
    made = good()
    made.graph.name = base64.b64encode(CALL_2).decode()
    assert rules(tmp_path, made.SerializeToString()) == {"embedded-pickle"}


@pytest.mark.parametrize(
    ("kind", "field", "numpy"),
    [
        (TensorProto.UINT8, "int32_data", "u1"),
        (TensorProto.INT8, "int32_data", "i1"),
        (TensorProto.INT16, "int32_data", "<i2"),
        (TensorProto.INT32, "int32_data", "<i4"),
        (TensorProto.INT64, "int64_data", "<i8"),
        (TensorProto.UINT64, "uint64_data", "<u8"),
        (TensorProto.UINT32, "uint64_data", "<u4"),
        (TensorProto.FLOAT, "float_data", "<f4"),
    ],
)
def test_a_program_in_numbers_is_found(tmp_path: Path, kind: int, field: str, numpy: str) -> None:
    made = good()
    numbers = np.frombuffer(ELF, numpy)
    tensor = made.graph.initializer.add(name="w", data_type=kind, dims=[len(numbers)])
    getattr(tensor, field).extend(numbers.tolist())
    assert "embedded-executable" in rules(tmp_path, made.SerializeToString())


def node(operator: str, *inputs: str, output: str = "trips", **attributes: object) -> NodeProto:
    return helper.make_node(operator, inputs, [output], **attributes)


MANY = numpy_helper.from_array(np.full(65, 2**62), "many")
SURE = scalar("sure", True, np.bool_)
COMPUTED = {
    "the_largest_of_65": ((node("ReduceMax", "many", keepdims=0),), (MANY,)),
    "one_of_65": ((node("Gather", "many", "zero"),), (MANY,)),
    "shifted": (
        (node("BitShift", "one", "sixty", output="u", direction="LEFT"), node("Cast", "u", to=TensorProto.INT64)),
        (scalar("one", 1, np.uint64), scalar("sixty", 60, np.uint64)),
    ),
    "chosen": ((node("Where", "sure", "n", "n"),), (SURE,)),
    "of_an_input_times_zero": (
        (
            node("ReduceSum", "x", output="sum", keepdims=0),
            node("Cast", "sum", output="whole", to=TensorProto.INT64),
            node("Mul", "whole", "zero", output="nothing"),
            node("Add", "nothing", "n"),
        ),
        (),
    ),
    "of_the_shape_of_nothing": (
        (
            node("Gather", "x", "none", output="empty"),
            node("Shape", "empty", output="shape"),
            node("Gather", "shape", "one"),
        ),
        (TensorProto(name="none", data_type=TensorProto.INT64, dims=[0, 2**62], raw_data=b""), scalar("one", 1)),
    ),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_trips_that_are_computed_and_not_bounded_are_medium(tmp_path: Path, name: str) -> None:
    before, constants = COMPUTED[name]
    model = computed_trips(*before, constants=constants)
    (tmp_path / "model.onnx").write_bytes(model)
    findings = scan_at_load(tmp_path, tmp_path / "model.onnx", model)
    (finding,) = (each for each in findings if each.rule.startswith("loop-"))
    assert (finding.rule, finding.severity) == ("loop-unbounded", "medium")
    assert "could not be bounded" in finding.what


@pytest.mark.parametrize(
    "before",
    [
        (node("Size", "x"),),
        (node("Identity", "x", output="same"), node("Size", "same")),
        (node("Shape", "x", output="shape"), node("Gather", "shape", "zero")),
        (node("Cast", "x", output="as", to=TensorProto.INT64), node("Gather", "as", "zero")),
    ],
)
def test_trips_that_a_client_chooses_are_low(tmp_path: Path, before: tuple[NodeProto, ...]) -> None:
    assert rules(tmp_path, computed_trips(*before)) == {"loop-open"}
