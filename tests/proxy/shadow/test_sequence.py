"""Confidence sequences hold at every look, and close in on the truth."""

from math import exp, isclose, lgamma, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.shadow.sequence import Interval, difference_interval, mean_evidence, mean_interval

LEVEL = 0.05
RUNS, VALUES = 200, 20_000
LOG_GAMMA_HALF = np.array([lgamma(n + 0.5) for n in range(VALUES + 1)])
LOG_GAMMA_ONE = np.array([lgamma(n + 1.0) for n in range(VALUES + 1)])


def wealth_at_every_look(draws: np.ndarray, mean: float) -> np.ndarray:
    """Logarithm of the evidence against `mean` after each of the draws (runs, values) of 0 and 1, vectorised."""
    totals = np.cumsum(draws, axis=1)
    counts = np.arange(1, draws.shape[1] + 1)
    mixture = LOG_GAMMA_HALF[totals] + LOG_GAMMA_HALF[counts - totals] - LOG_GAMMA_ONE[counts] - log(np.pi)
    return mixture - totals * log(mean) - (counts - totals) * log(1 - mean)


@pytest.mark.parametrize("mean", [0.002, 0.05, 0.5, 0.97])
def test_the_truth_leaves_the_interval_in_at_most_the_level_of_runs_watched_at_every_value(mean: float) -> None:
    draws = np.random.default_rng(7).random((RUNS, VALUES)) < mean
    wealth = wealth_at_every_look(draws, mean)
    assert np.mean(wealth.max(axis=1) >= log(1 / LEVEL)) <= LEVEL
    totals = np.cumsum(draws, axis=1)
    for run, at in [(0, 0), (1, 10), (2, 999), (3, VALUES - 1)]:  # the vectorised formula is the module's
        interval = mean_interval(int(totals[run, at]), at + 1, LEVEL)
        assert (interval.low <= mean <= interval.high) == (wealth[run, at] < log(1 / LEVEL))


def test_the_interval_holds_for_values_between_0_and_1_too() -> None:
    values = np.random.default_rng(8).beta(0.3, 1.2, (RUNS, 2000))  # mean 0.2
    totals = np.cumsum(values, axis=1)
    looks = np.unique(np.geomspace(1, 2000, 40).astype(int))
    missed = 0
    for run in range(RUNS):
        found = [mean_interval(float(totals[run, n - 1]), int(n), LEVEL) for n in looks]
        missed += any(not interval.low <= 0.2 <= interval.high for interval in found)
    assert missed <= LEVEL * RUNS


def test_the_interval_closes_in_with_the_root_of_the_count() -> None:
    widths = [
        interval.high - interval.low
        for interval in (mean_interval(n * 0.1, n, LEVEL) for n in (1_000, 100_000, 10_000_000))
    ]
    assert widths[0] < 0.08
    assert widths[1] < widths[0] / 7
    assert widths[2] < widths[1] / 7


def test_nothing_seen_says_nothing() -> None:
    assert mean_interval(0, 0, LEVEL) == Interval(0.0, 1.0)
    assert difference_interval(0, 0, 0, LEVEL) == Interval(-1.0, 1.0)
    assert mean_evidence(0, 0, 0.5) == 0.0


def test_no_disagreement_in_a_thousand_bounds_the_share_near_the_rule_of_three() -> None:
    interval = mean_interval(0, 1000, LEVEL)
    assert interval.low == 0.0
    assert 3 / 1000 < interval.high < 8 / 1000  # the rule of three, and the price of looking at every value


@given(st.integers(1, 10**9), st.floats(0, 1), st.sampled_from([0.2, 0.05, 1e-3, 1e-9]), st.floats(0.001, 0.999))
def test_evidence_reaches_the_level_exactly_where_the_interval_does(
    n: int, share: float, level: float, m: float
) -> None:
    total = share * n
    interval = mean_interval(total, n, level)
    assert 0.0 <= interval.low <= total / n <= interval.high <= 1.0
    evidence, below = mean_evidence(total, n, m), mean_evidence(n - total, n, 1 - m)
    threshold = log(1 / level)
    if not isclose(evidence, threshold, rel_tol=1e-6, abs_tol=1e-4):
        assert (evidence >= threshold) == (interval.low >= m)
    if not isclose(below, threshold, rel_tol=1e-6, abs_tol=1e-4):
        assert (below >= threshold) == (interval.high <= m)


def test_evidence_is_the_mixture_integrated_by_hand() -> None:
    total, n, m = 7, 20, 0.1
    edges = np.linspace(0, np.pi / 2, 100_001)
    q = np.sin((edges[1:] + edges[:-1]) / 2) ** 2  # in this angle Beta(1/2, 1/2) is uniform
    mixture = np.mean((q / m) ** total * ((1 - q) / (1 - m)) ** (n - total))
    assert exp(mean_evidence(total, n, m)) == pytest.approx(mixture, rel=1e-6)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_difference_turns_with_its_sides_and_holds_the_estimate(first: int, second: int, rest: int) -> None:
    n = first + second + rest
    interval = difference_interval(first, second, n, LEVEL)
    other = difference_interval(second, first, n, LEVEL)
    assert (interval.low, interval.high) == pytest.approx((-other.high, -other.low), abs=1e-12)
    if n:
        assert -1.0 <= interval.low <= (second - first) / n <= interval.high <= 1.0


def test_the_projection_finds_what_a_grid_over_all_probabilities_finds() -> None:
    first, second, n = 3, 14, 60
    steps = np.linspace(0, 1, 801)
    a, b = np.meshgrid(steps, steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = first * np.log(a) + second * np.log(b) + (n - first - second) * np.log(1 - a - b)
    mixture = lgamma(1.5) - 1.5 * log(np.pi) + sum(lgamma(k + 0.5) for k in (first, second, n - first - second))
    kept = np.nan_to_num(likelihood, nan=-np.inf) > mixture - lgamma(n + 1.5) - log(1 / LEVEL)
    interval = difference_interval(first, second, n, LEVEL)
    assert interval.low == pytest.approx((b - a)[kept].min(), abs=2 / 800)
    assert interval.high == pytest.approx((b - a)[kept].max(), abs=2 / 800)


def test_the_true_difference_stays_inside_whenever_it_is_looked_at() -> None:
    rng = np.random.default_rng(9)
    looks = np.unique(np.geomspace(1, 5000, 30).astype(int))
    missed = 0
    for _ in range(RUNS):
        draws = rng.choice(3, 5000, p=[0.03, 0.01, 0.96])
        first, second = np.cumsum(draws == 0), np.cumsum(draws == 1)
        found = (difference_interval(int(first[n - 1]), int(second[n - 1]), int(n), LEVEL) for n in looks)
        missed += any(not interval.low <= -0.02 <= interval.high for interval in found)
    assert missed <= LEVEL * RUNS


@pytest.mark.parametrize(("total", "count"), [(-1, 5), (6, 5), (float("nan"), 5), (0, -1)])
def test_numbers_that_are_no_sum_and_count_are_refused(total: float, count: int) -> None:
    with pytest.raises(ValueError, match="cannot have the sum"):
        mean_interval(total, count, LEVEL)
    with pytest.raises(ValueError, match="cannot have the sum"):
        mean_evidence(total, count, 0.5)


def test_levels_and_means_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="a level lies between 0 and 1"):
        mean_interval(1, 2, 0.0)
    with pytest.raises(ValueError, match=r"cannot be 1\.5"):
        mean_evidence(1, 2, 1.5)
    with pytest.raises(ValueError, match="cannot be negative"):
        difference_interval(-1, 2, 5, LEVEL)
