"""Fallback values fit the model's outputs, element by element, or are refused when the configuration is loaded."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.fallback.value import FallbackValue
from modelward.problem import ProblemsFound
from modelward.tensors import TensorSpec


def output(datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2), name: str = "y") -> TensorSpec:
    return TensorSpec(name, datatype, shape, (None,) * len(shape))


def compiled(spec: TensorSpec, value: object) -> tuple[tuple[int, ...], bytes, bool]:
    (constant,) = FallbackValue.compile([spec], {spec.name: value}, "test").outputs
    assert (constant.name, constant.datatype) == (spec.name, spec.datatype)
    return constant.shape, constant.raw, constant.repeats


def refusal(spec: TensorSpec, value: object) -> str:
    with pytest.raises(ProblemsFound) as found:
        compiled(spec, value)
    return str(found.value)


@pytest.mark.parametrize(
    ("datatype", "value", "raw"),
    [
        ("BOOL", [[True, False]], "0100"),
        ("UINT8", [[0, 255]], "00ff"),
        ("INT8", [[-128, 127]], "807f"),
        ("UINT16", [[1, 65535]], "0100ffff"),
        ("INT16", [[1, -2]], "0100feff"),
        ("UINT32", [[1, 2**32 - 1]], "01000000ffffffff"),
        ("INT32", [[1, -1]], "01000000ffffffff"),
        ("UINT64", [[1, 2**64 - 1]], "0100000000000000ffffffffffffffff"),
        ("INT64", [[1, -(2**63)]], "01000000000000000000000000000080"),
        ("FP16", [[1.0, -2]], "003c00c0"),
        ("BF16", [[1.0, -2]], "803f00c0"),
        ("FP32", [[1.0, -2]], "0000803f000000c0"),
        ("FP64", [[1.0, -2]], "000000000000f03f00000000000000c0"),
        ("BYTES", [["", "ä1"]], "0000000003000000c3a431"),
    ],
)
def test_elements_are_little_endian_wire_bytes(datatype: str, value: object, raw: str) -> None:
    assert compiled(output(datatype), value) == ((1, 2), bytes.fromhex(raw), True)


def test_a_scalar_fills_the_output() -> None:
    assert compiled(output("UINT8", (-1, 3)), 7) == ((1, 3), b"\7\7\7", True)
    assert compiled(output("UINT8", (-1,)), 7) == ((1,), b"\7", True)
    assert compiled(output("UINT8", ()), 7) == ((), b"\7", False)
    assert compiled(output("BYTES", (-1,)), "a") == ((1,), b"\1\0\0\0a", True)
    assert "dynamic axis" in refusal(output("UINT8", (-1, -1)), 7)
    assert "more than" in refusal(output("UINT8", (1, 2**40)), 7)


def test_one_row_fills_a_fixed_first_axis_and_all_rows_may_be_given() -> None:
    assert compiled(output("UINT8", (3, 2)), [[1, 2]]) == ((3, 2), b"\1\2" * 3, False)
    assert compiled(output("UINT8", (2, 1)), [[1], [2]]) == ((2, 1), b"\1\2", False)


def test_a_dynamic_inner_axis_takes_what_is_given() -> None:
    assert compiled(output("UINT8", (-1, -1)), [[1, 2, 3]]) == ((1, 3), b"\1\2\3", True)
    assert compiled(output("UINT8", (-1, -1)), [[]]) == ((1, 0), b"", True)


@pytest.mark.parametrize(
    ("shape", "value", "finding"),
    [
        ((-1, 2), [1, 2], "it has 1 dimensions, the output has 2"),
        ((-1, 2), [[1, 2, 3]], "dimension 1 is 3, the output has 2"),
        ((-1, 2), [[1, 2], [3, 4]], "it has 2 rows, where one is repeated"),
        ((3, 2), [[1, 2], [3, 4]], "dimension 0 is 2, the output has 3"),
        ((-1, 2), [[1, 2], [3]], "different lengths"),
        ((-1, 2), [[1, [2]]], "different lengths"),
        ((-1, 2), [], "dimensions"),
        ((), [1], "dimensions"),
    ],
)
def test_a_shape_that_differs_is_refused(shape: tuple[int, ...], value: object, finding: str) -> None:
    assert finding in refusal(output("UINT8", shape), value)


@pytest.mark.parametrize(
    ("datatype", "element"),
    [
        ("INT8", 300),
        ("INT8", -129),
        ("UINT64", -1),
        ("UINT64", 2**64),
        ("INT32", math.nan),
        ("INT32", 1.0),
        ("INT32", True),
        ("INT32", "1"),
        ("BOOL", 1),
        ("BOOL", "true"),
        ("FP16", 65520.0),
        ("FP32", 1e39),
        ("FP32", 10**400),
        ("FP64", 10**400),
        ("BF16", 3.4e38),
        ("FP32", True),
        ("FP32", "0.5"),
        ("FP32", None),
        ("BYTES", 1),
        ("BYTES", "\udcff"),
        ("FP32", {"a": 1}),
    ],
)
def test_an_element_that_the_datatype_cannot_hold_is_refused(datatype: str, element: object) -> None:
    assert "the value of y does not fit" in refusal(output(datatype), [[element, element]])


def test_infinities_and_not_a_number_are_floats_if_written_so() -> None:
    for datatype, numpy_type in (("FP16", "<f2"), ("FP32", "<f4"), ("FP64", "<f8")):
        _, raw, _ = compiled(output(datatype), [[math.nan, -math.inf]])
        np.testing.assert_array_equal(np.frombuffer(raw, numpy_type), [math.nan, -math.inf])
    assert compiled(output("BF16"), [[math.nan, math.inf]])[1] == bytes.fromhex("c07f807f")


@given(st.floats(-(2.0**127), 2.0**127, width=32))
def test_a_brain_float_is_within_half_a_step_of_the_number(number: float) -> None:
    _, raw, _ = compiled(output("BF16", (-1,)), [number])
    back = float((np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")[0])
    assert abs(back - number) <= max(abs(number) * 2**-8, 2**-134)


def test_every_output_is_given_and_no_other() -> None:
    specs = [output(name="label"), output(name="probabilities")]
    with pytest.raises(ProblemsFound) as found:
        FallbackValue.compile(specs, {"probabilitie": 1}, "model fraud")
    assert [str(problem) for problem in found.value.problems] == [
        "model fraud: the value names an unknown output 'probabilitie'. Did you mean probabilities?",
        "model fraud: the value leaves out the output label. Give label FP32 [-1, 2]",
        "model fraud: the value leaves out the output probabilities. Give probabilities FP32 [-1, 2]",
    ]


def test_outputs_come_in_the_models_order() -> None:
    specs = [output(name="b"), output(name="a")]
    value = FallbackValue.compile(specs, {"a": 1, "b": 2}, "test")
    assert [constant.name for constant in value.outputs] == ["b", "a"]
