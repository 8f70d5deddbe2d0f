"""Made-up inputs: as many bytes as their shape has, numbers of every datatype, rows joined and taken apart."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from modelward.models.made_up import DRAWN, FLOATS, LARGEST_FP16, SIZES, each_row, joined, scaled, tensor, with_zeros
from modelward.models.runtime import runtime
from modelward_native.backend.arrays import NUMPY
from modelward_native.backend.engine import Engine
from modelward_native.backend.plain import Plain
from tests import models

SHAPES = [(), (1, 5), (1, 0, 3), (2, DRAWN)]


def array(plain: Plain, datatype: str) -> npt.NDArray[Any]:
    assert isinstance(plain.data, bytes)
    return np.frombuffer(plain.data, NUMPY[datatype]).reshape(plain.shape)


@pytest.mark.parametrize("datatype", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_input_has_the_elements_of_its_shape_and_zeros_are_zeros(datatype: str, shape: tuple[int, ...]) -> None:
    assert np.dtype(NUMPY[datatype]).itemsize == SIZES[datatype]
    assert not array(tensor(datatype, shape, None), datatype).any()
    made = array(tensor(datatype, shape, random.Random(0)), datatype)
    assert made.shape == shape
    if made.size > 1:
        assert len(np.unique(made)) > 1


@pytest.mark.parametrize("datatype", FLOATS)
def test_numbers_are_normal_and_those_of_another_size_the_same_ones(datatype: str) -> None:
    row = tensor(datatype, (1, 2 * DRAWN), random.Random(0))
    numbers = array(row, datatype).astype(np.float64)
    assert abs(numbers.mean()) < 0.1
    assert numbers.std() == pytest.approx(1, abs=0.1)
    for magnitude in (0.0, 1e-3, 1e2):
        larger = array(scaled(row, datatype, magnitude), datatype)
        np.testing.assert_allclose(larger, numbers * magnitude, rtol=1e-2, atol=1e-6)
    assert np.abs(array(scaled(row, datatype, 1e9), datatype)).max() == LARGEST_FP16


def test_what_counts_or_chooses_is_not_scaled() -> None:
    for datatype in ("INT64", "BOOL", "BF16", "BYTES"):
        row = tensor(datatype, (1, 3), random.Random(0))
        assert scaled(row, datatype, 1e4) == row


def test_rows_are_joined_and_taken_apart_again() -> None:
    rng = random.Random(0)
    rows = [{"x": tensor("FP32", (1, 2, 3), rng), "t": tensor("BYTES", (1, 2), rng)} for _ in range(3)]
    together = joined(rows)
    assert together["x"].shape == (3, 2, 3)
    assert together["t"] == Plain((3, 2), [b"1"] * 6)
    for name in ("x", "t"):
        assert list(each_row(together[name])) == [row[name] for row in rows]


def test_dimensions_of_zero_leave_no_elements() -> None:
    runtime()
    engine = Engine("m", "1", models.convolutions())
    row = {"x": tensor("FP32", (1, 3, 8, 8), None)}
    assert with_zeros(engine, row, ())["x"] == row["x"]
    cut = with_zeros(engine, row, (1,))["x"]
    assert (cut.shape, cut.data) == ((1, 3, 0, 8), b"")
    assert math.prod(cut.shape) == 0
    engine.close()
