"""Whether answers are distributed differently: found where they are, and hardly ever where they are not."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import numpy.typing as npt
import pytest

from modelward.promotion.outputs import CELLS, answers, caller_count, index_lower_bound
from modelward_native.shadow.sketch import SKETCH_ANSWER
from modelward_native.testing.shadow import score_cell

BOUND, LEVEL = 0.25, 0.0125 / 4  # as guard.moved asks, of a promotion of four steps
RUNS, LOOKS = 200, 20

Doubles = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Doubles]  # scores of that many answers, a row each


def sketch(*rows: float | list[float] | Doubles) -> tuple[int, ...]:
    """Of answers, each of one score or of several."""
    cells = np.zeros(CELLS, np.int64)
    for row in rows:
        scores = np.atleast_1d(row)
        for score in scores.tolist():
            cells[score_cell(score)] += SKETCH_ANSWER // len(scores)
    return tuple(cells.tolist())


def normal(generator: np.random.Generator, count: int) -> Doubles:
    return generator.normal(size=(count, 1))


def probabilities(generator: np.random.Generator, count: int) -> Doubles:
    return generator.beta(1, 9, size=(count, 4))


def labels(generator: np.random.Generator, count: int) -> Doubles:
    return generator.choice([0.0, 1.0, 2.0], p=[0.9, 0.09, 0.01], size=(count, 1))


def alike(generator: np.random.Generator, count: int) -> Doubles:
    """Rows of one answer are one user's."""
    return np.repeat(generator.normal(size=(count, 1)), 16, axis=1)


@pytest.mark.parametrize("draw", [normal, probabilities, labels, alike])
@pytest.mark.parametrize("bound", [BOUND, 0.02])
def test_equal_answers_are_told_apart_by_chance_in_at_most_five_of_a_hundred_promotions(
    draw: Draw, bound: float
) -> None:
    """All runs are looked at many times; what is seen often exceeds the small bound, without significance."""
    generator = np.random.default_rng(3)
    told = 0
    for _ in range(RUNS // 8):
        here, there = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
        for _ in range(LOOKS):
            here += sketch(*draw(generator, 5))
            there += sketch(*draw(generator, 20))
            if index_lower_bound(here.tolist(), there.tolist(), 0.05, above=bound):
                told += 1
                break
    assert told <= 0.05 * RUNS / 8


@pytest.mark.parametrize(
    ("shift", "needed"),
    [
        (lambda scores: scores + 2, 512),
        (lambda scores: -scores + 1000, 64),
        (lambda scores: scores * np.nan, 64),
        (lambda scores: scores * 0, 64),
    ],
)
def test_answers_that_have_moved_are_found_before_long(shift: Callable[[Doubles], Doubles], needed: int) -> None:
    generator = np.random.default_rng(4)
    there = sketch(*normal(generator, 9 * needed))
    here = sketch(*shift(normal(generator, needed)))
    assert answers(here) == needed
    assert index_lower_bound(here, there, LEVEL, above=BOUND) > BOUND
    assert index_lower_bound(here, there, LEVEL, above=100) == 0


def test_a_difference_within_the_bound_is_none_however_many_there_are() -> None:
    here = tuple(10**6 * np.array(sketch(*[0.0] * 45, *[5.0] * 55)))
    there = tuple(10**6 * np.array(sketch(*[0.0] * 55, *[5.0] * 45)))
    index = 2 * 0.1 * log(0.55 / 0.45)
    assert 0.95 * index < index_lower_bound(here, there, LEVEL) <= index
    assert index_lower_bound(here, there, LEVEL, above=BOUND) == 0


def test_answers_that_were_all_the_same_are_told_from_smaller_and_larger_ones() -> None:
    there = sketch(*[1.0] * 1000)
    for score in (0.5, 2.0, -1.0, 0.0):
        assert index_lower_bound(sketch(*[score] * 64), there, LEVEL, above=BOUND) > BOUND
    assert index_lower_bound(sketch(*[1.0] * 1000), there, LEVEL) == 0


def test_nothing_is_told_of_a_side_without_answers() -> None:
    some = sketch(*np.arange(1000.0))
    for here, there in ((sketch(), some), (some, sketch()), (sketch(), sketch())):
        assert index_lower_bound(here, there, LEVEL) == 0


def test_rows_of_one_answer_are_one_observation() -> None:
    there = sketch(*np.random.default_rng(5).normal(size=5000))
    few = [[1000.0] * 16] * 4
    assert index_lower_bound(sketch(*few), there, LEVEL, above=BOUND) == 0
    assert index_lower_bound(sketch(*[1000.0] * 64), there, LEVEL, above=BOUND) > 0


@pytest.mark.parametrize(("share", "fewest", "most"), [([1.0], 1, 1), ([0.25] * 4, 3.8, 4.2), ([0.9, 0.1], 1, 1.3)])
def test_callers_are_counted_by_their_parts_of_the_answers(share: list[float], fewest: float, most: float) -> None:
    counts = np.random.default_rng(8).multinomial(2000, share).tolist()
    assert fewest <= caller_count(counts) <= most


def test_requests_without_a_caller_count_as_many_callers() -> None:
    for count in (200, 20_000):
        assert 50 <= caller_count(np.random.default_rng(9).multinomial(count, [1 / 64] * 64).tolist()) <= 80
    assert [caller_count(counts) for counts in ([], [1], [1, 1, 1])] == [0, 1, 3]
