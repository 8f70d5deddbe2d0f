"""Guards of one output: every element, of every datatype, in place."""

from __future__ import annotations

from math import inf, nan
from random import Random
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_native.testing.guards import Guard
from tests.e2e.messages import DATATYPE, RESPONSE
from tests.native.outputs.test_class_scores import Array, raw_answer, scores_of, typed_answer
from tests.oracle.wire import Writer

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
INTEGERS = [np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)]
MOST_NS = 2_000.0  # 30 times what it takes, for a busy machine


def guard(values: Array, **how: Any) -> Guard:
    return Guard(raw_answer(label=np.zeros(1, np.int64), p=values), "p", DATATYPE[values.dtype], **how)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("at", [0, 7, 8, 29])
def test_one_number_that_is_not_finite_is_found_wherever_it_stands(dtype: type[Any], at: int) -> None:
    values = np.zeros((1, 30), dtype)
    assert guard(values, finite=True).violated() == ([], 0, 0)
    for bad in (nan, inf, -inf):
        values[0, at] = bad
        kinds, element, value = guard(values, finite=True).violated()
        assert (kinds, element) == (["finite"], at)
        assert value == pytest.approx(bad, nan_ok=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_range_has_its_bounds_in_it_as_the_datatype_rounds_them(dtype: type[Any]) -> None:
    values = np.array([[0.1, 0.9]], dtype)
    assert guard(values, between=(0.1, 0.9)).violated()[0] == []
    beyond = np.array([[0.1, 0.99]], dtype)
    assert guard(beyond, between=(0.1, 0.9)).violated()[:2] == (["range"], 1)
    assert guard(np.array([[nan, 0.5]], dtype), between=(0.1, 0.9)).violated()[:2] == (["range"], 0)
    assert guard(np.array([[-inf, 0.5]], dtype), between=(-inf, 0.9)).violated()[0] == []
    assert guard(np.array([[-inf, 0.5]], dtype), between=(-inf, 0.9), finite=True).violated()[0] == ["finite"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_guarded_and_clipped_too(dtype: Any) -> None:
    values = np.array([0, 3, 100], dtype)
    assert guard(values, between=(0, 100)).violated()[0] == []
    assert guard(values, between=(0.5, 99.5)).violated() == (["range"], 0, 0)
    checked = Guard(raw_answer(p=values), "p", DATATYPE[values.dtype], between=(0.5, 99.5))
    clipped = checked.clip()
    assert clipped is not None
    assert np.frombuffer(RESPONSE.FromString(clipped).raw_output_contents[0], dtype).tolist() == [1, 3, 99]


def test_typed_integers_are_read() -> None:
    message = RESPONSE(model_name="m")
    message.outputs.add(name="p", datatype="INT64", shape=[3]).contents.int64_contents.extend([1, -5, 2])
    assert Guard(message.SerializeToString(), "p", "INT64", between=(0, 9)).violated() == (["range"], 1, -5)
    message.outputs[0].contents.int64_contents.extend([0] * 200)
    message.outputs[0].shape[0] = 203
    assert Guard(message.SerializeToString(), "p", "INT64", between=(-9, 9)).violated()[0] == ["readable"]  # no room


def test_rows_add_up_within_the_tolerance() -> None:
    values = np.array([[0.25, 0.75], [0.25, 0.7505]], np.float32)
    assert guard(values, sum=1, tolerance=0.001).violated()[0] == []
    kinds, element, value = guard(values, sum=1, tolerance=0.0001).violated()
    assert (kinds, element, value) == (["sum"], 2, pytest.approx(1.0005))
    assert guard(np.array([[nan, 1]], np.float32), sum=1, tolerance=9).violated()[0] == ["sum"]


def test_clipped_numbers_lie_in_the_range_and_the_others_stay() -> None:
    values = np.array([[-inf, -0.5, 0.25, 1.5, inf]], np.float32)
    for message in (raw_answer(p=values), typed_answer(values)):
        clipped = Guard(message, "p", "FP32", between=(0, 1)).clip()
        assert clipped is not None
        assert scores_of(clipped, values).tolist() == [[0, 0, 0.25, 1, 1]]
    assert Guard(raw_answer(p=values * nan), "p", "FP32", between=(0, 1)).clip() is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(width=16) | st.floats(-2, 2, width=16), min_size=1, max_size=70),
    st.sampled_from(DTYPES),
    st.booleans(),
    st.sampled_from([None, (0.0, 1.0), (-1.5, inf)]),
)
def test_what_is_violated_is_what_numpy_says(
    numbers: list[float], dtype: type[Any], finite: bool, between: tuple[float, float] | None
) -> None:
    values = np.array([numbers], dtype)
    wide = values.astype(float)
    expected = []
    if finite and not np.isfinite(wide).all():
        expected.append("finite")
    if between and not ((wide >= between[0]) & (wide <= between[1])).all():
        expected.append("range")
    assert guard(values, finite=finite, between=between).violated()[0] == expected


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_whatever_an_upstream_writes_is_checked_in_its_bounds(random: Random, typed: bool) -> None:
    values = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    whole = typed_answer(values) if typed else raw_answer(q=values, p=values)
    broken = Writer(random, damage=True).broken(whole)
    kinds, element, _ = Guard(broken, "p", "FP32", finite=True, between=(0, 1), sum=1).violated()
    assert set(kinds) <= {"readable", "finite", "range", "sum"}
    assert element <= len(broken)


def test_it_takes_a_bounded_time() -> None:
    checked = guard(np.full((1, 30), 0.5, np.float32), finite=True, between=(0, 1))
    assert min(checked.measure(200) for _ in range(50)) < MOST_NS


def follows(values: Array, kind: str, *inputs: Array, index: int = 0, column: int = -1, tolerance: float = 0.0) -> bool:
    return guard(values, tolerance=tolerance).follows(kind, list(inputs), index, column)


def test_a_number_rises_with_an_input_from_row_to_row_and_by_more_than_the_tolerance() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.75, 0.25], [0.8, 0.2]], np.float32)
    incomes = np.array([[1.0], [2.0], [3.0], [2.5]])
    assert follows(scores, "rises_with", incomes)
    assert not follows(scores, "falls_with", incomes)
    assert not follows(scores[::-1].copy(), "rises_with", incomes)
    assert follows(scores[::-1].copy(), "rises_with", incomes, tolerance=0.06)
    assert not follows(np.array([[0.5], [nan]], np.float32), "rises_with", incomes[:2])
    assert follows(scores[:1], "rises_with", incomes[:1])


def test_rows_that_differ_in_anything_else_say_nothing() -> None:
    falling = np.array([[0.5], [0.25]], np.float32)
    rows = np.array([[1, 7, 3], [2, 7, 3]], np.int64)
    assert not follows(falling, "rises_with", rows, column=0)
    assert follows(falling, "rises_with", np.array([[1, 7, 3], [2, 7, 4]], np.int64), column=0)
    assert follows(falling, "rises_with", np.array([[1, 6, 3], [1, 7, 3], [2, 8, 3]], np.int64)[1:], column=0)
    of_all = np.array([5], np.uint8)  # one for both rows
    assert not follows(falling, "rises_with", of_all, rows, index=1, column=0)
    assert follows(falling, "rises_with", np.array([5, 6], np.uint8), rows, index=1, column=0)


@pytest.mark.parametrize("rows", [np.zeros((3, 2)), np.zeros((2, 1)), np.zeros(1)])
def test_an_input_without_such_a_column_in_each_row_cannot_vouch(rows: Array) -> None:
    assert not follows(np.zeros((4, 1), np.float32), "rises_with", rows, column=1)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 40), st.integers(0, 6), st.integers(0, 9))
def test_rows_are_read_in_their_bounds_whatever_their_shapes(
    rows: int, columns: int, size: int, column: int, other: int
) -> None:
    values, input_, second = np.zeros((rows, columns), np.float32), np.arange(size, dtype=np.uint8), np.zeros(other)
    told = follows(values, "rises_with", input_, second, column=column)
    assert told == (rows < 2 or size == 0 or (size % rows == 0 and column < size // rows))
