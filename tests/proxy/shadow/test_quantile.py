"""Quantiles of histograms: sure edges around them, however often they are looked at."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.shadow.quantile import estimate, quantile_interval, ratio
from modelward.shadow.sequence import Interval

EDGES = [*(float(edge) for edge in range(1, 21)), inf]


def counted(values: np.ndarray) -> list[int]:
    return np.bincount(np.searchsorted(EDGES, values), minlength=len(EDGES)).tolist()


def test_nothing_seen_is_nothing_known() -> None:
    nothing = [0] * len(EDGES)
    assert quantile_interval(nothing, EDGES, 0.5, 0.05) == Interval(0.0, inf)
    assert estimate(nothing, EDGES, 0.5) is None


def test_the_interval_closes_in_on_the_cells_around_the_quantile() -> None:
    values = np.random.default_rng(3).exponential(4.0, 100_000)  # median 2.77, 95 % below 11.98
    assert quantile_interval(counted(values), EDGES, 0.5, 0.05) == Interval(2.0, 3.0)
    assert quantile_interval(counted(values), EDGES, 0.95, 0.05) == Interval(11.0, 13.0)
    assert estimate(counted(values), EDGES, 0.5) == 3.0


def test_the_true_quantile_stays_inside_whenever_it_is_looked_at() -> None:
    rng = np.random.default_rng(4)
    runs, missed = 100, 0
    for _ in range(runs):
        values = rng.exponential(4.0, 1000)
        looks = np.unique(np.geomspace(1, 1000, 25).astype(int))
        found = (quantile_interval(counted(values[:n]), EDGES, 0.9, 0.05) for n in looks)
        missed += any(not interval.low <= 9.21 <= interval.high for interval in found)
    assert missed <= 0.05 * runs


@given(st.lists(st.integers(0, 10**6), min_size=len(EDGES), max_size=len(EDGES)), st.floats(0.01, 0.99))
def test_the_estimate_lies_between_the_ends(cells: list[int], q: float) -> None:
    interval, value = quantile_interval(cells, EDGES, q, 0.05), estimate(cells, EDGES, q)
    assert interval.low < interval.high
    if value is not None:
        assert interval.low <= value <= interval.high


@pytest.mark.parametrize(
    ("over", "under", "expected"),
    [
        (Interval(2.0, 4.0), Interval(1.0, 2.0), Interval(1.0, 4.0)),
        (Interval(0.0, inf), Interval(0.0, inf), Interval(0.0, inf)),
        (Interval(2.0, inf), Interval(0.0, 4.0), Interval(0.5, inf)),
    ],
)
def test_a_ratio_is_as_wide_as_both_sides_allow(over: Interval, under: Interval, expected: Interval) -> None:
    assert ratio(over, under) == expected
