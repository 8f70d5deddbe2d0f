"""One answer's scores as cells: a version's answers are counted so, for promotions to be judged by."""

from __future__ import annotations

from collections import Counter
from math import inf, isnan, nan
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_native.shadow.sketch import SCORE_EDGES, SKETCH_ANSWER
from modelward_native.testing.shadow import measure_sketch, score_cell, sketch
from tests.e2e.messages import RESPONSE
from tests.native.shadow.test_compare import answer, floats
from tests.oracle.wire import Writer

OUTERMOST = len(SCORE_EDGES)  # the last cell
MOST_NS = 5_000.0  # of one answer: 25 times what it takes, for a busy machine


def cells(message: bytes) -> dict[int, int]:
    return {cell: count for cell, count in enumerate(sketch(message)) if count}


def expected(*scores: float) -> dict[int, int]:
    """An answer's weight spread evenly over these scores."""
    counted = Counter(OUTERMOST if isnan(score) else score_cell(score) for score in scores)
    return {cell: count * SKETCH_ANSWER // len(scores) for cell, count in counted.items()}


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 16, 40])
@pytest.mark.parametrize("datatype", [np.float16, np.float32, np.float64])
def test_rows_of_one_number_are_their_scores_at_most_sixteen(rows: int, datatype: type[Any]) -> None:
    values = (np.random.default_rng(rows).normal(size=rows) * 10).astype(datatype)
    for shape in ((rows,), (rows, 1)):
        assert cells(answer(y=values.reshape(shape))) == expected(*values[:16].tolist())


def test_of_two_numbers_the_second_is_the_score_and_of_more_the_largest() -> None:
    assert cells(answer(p=floats([0.9, 0.1], [0.2, 0.8]))) == expected(0.1, 0.8)
    assert cells(answer(p=floats([0.2, 0.7, 0.1], [0.5, 0.1, 0.4]))) == expected(0.7, 0.5)


def test_no_more_than_64_numbers_are_read_and_the_first_of_a_longer_row_stand_for_it() -> None:
    rows = np.random.default_rng(1).random((8, 10)).astype(np.float32)
    assert cells(answer(p=rows)) == expected(*rows[:6].max(axis=1).tolist())
    wide = np.arange(100, dtype=np.float32).reshape(1, 100)
    assert cells(answer(p=wide)) == expected(63.0)


def test_what_is_no_number_or_infinite_is_outermost() -> None:
    assert cells(answer(y=floats(nan, inf))) == expected(nan, inf) == {OUTERMOST: SKETCH_ANSWER}
    assert cells(answer(y=floats(-inf))) == {0: SKETCH_ANSWER}
    assert cells(answer(p=floats([0.1, nan, 0.2]))) == {OUTERMOST: SKETCH_ANSWER}


def test_the_first_floating_output_counts_wherever_it_stands_and_else_the_first_of_labels() -> None:
    label, scores = np.array([3, 1], np.int64), floats([0.25], [0.75])
    assert cells(answer(label=label, p=scores, q=floats(9.0))) == expected(0.25, 0.75)
    assert cells(answer(label=label, other=np.array([9], np.int64))) == expected(3, 1)


@pytest.mark.parametrize("datatype", [np.bool_, *(np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8))])
def test_labels_of_every_integer_datatype_are_their_values(datatype: Any) -> None:
    values = [0, 1] if datatype is np.bool_ else [0, 1, 100, np.iinfo(datatype).max, np.iinfo(datatype).min]
    assert cells(answer(y=np.array(values, datatype))) == expected(*map(float, values))


def test_equal_strings_are_in_one_cell_and_others_mostly_in_another() -> None:
    names = [f"class of a model number {i}".encode() for i in range(100)]
    found = [next(iter(cells(answer(y=[name, name])))) for name in names]
    assert [next(iter(cells(answer(y=[name])))) for name in names] == found
    assert len(set(found)) > 60
    assert sum(cells(answer(y=[b"", b"a", b"long" * 99])).values()) == SKETCH_ANSWER


def test_typed_contents_count_as_raw_ones() -> None:
    message = RESPONSE(model_name="m")
    message.outputs.add(name="y", datatype="FP32", shape=[2, 1]).contents.fp32_contents.extend([0.25, 3.0])
    assert cells(message.SerializeToString()) == expected(0.25, 3.0)


@pytest.mark.parametrize(
    "message",
    [b"", b"\xff", answer(), answer(y=floats()), answer(y=np.zeros((3, 0), np.float32)), answer(y=[]),
     answer(y=("FP32", [3], b"12345678"))],
)  # fmt: skip
def test_an_answer_without_scores_adds_nothing(message: bytes) -> None:
    assert cells(message) == {}


@settings(max_examples=500, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_whatever_an_upstream_writes_adds_one_answer_or_nothing(random: Random, damage: bool) -> None:
    assert sum(sketch(Writer(random, damage=damage).answer())) in (0, SKETCH_ANSWER)


def test_it_takes_a_bounded_time_however_large_the_answer() -> None:
    for values in (floats([0.1, 0.9]), np.random.default_rng(0).random((512, 1000)).astype(np.float32)):
        message = answer(p=values)
        assert min(measure_sketch(message, 100) for _ in range(100)) < MOST_NS
