"""Means of an output over windows: which are unlike those before them."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.models.output_guards import student_t
from modelward_native.testing.guards import Mean

WINDOW = 60 * 10**9


def watched(means: np.ndarray, one_in: float, change: float = 0) -> int:
    return Mean(WINDOW, student_t(1 / one_in), change=change).watch(means)


def test_the_threshold_is_the_quantile_of_students_t() -> None:
    assert student_t(0.05) == pytest.approx(2.04523, abs=1e-5)  # tables: 29 degrees of freedom
    assert student_t(0.001) == pytest.approx(3.65941, abs=1e-5)


def test_false_alarms_are_no_more_than_stated_where_windows_are_alike() -> None:
    means = np.random.default_rng(1).normal(0.3, 0.02, size=400_000)
    assert watched(means, 1000) <= 400 + 4 * 20  # four standard deviations
    assert watched(means, 1000) > 40  # and it is no empty bound


def test_means_of_bursty_clients_give_no_more_false_alarms() -> None:
    """Each window is of a few clients with many alike rows each, and of a few or many rows."""
    random = np.random.default_rng(2)
    clients = random.beta(2, 5, size=(200_000, 8))
    rows = random.integers(1, 100, size=clients.shape)
    means = (clients * rows).sum(axis=1) / rows.sum(axis=1)
    assert watched(means, 1000) <= 200 * 1.3


def test_a_jump_is_seen_with_the_window_that_it_comes_in_and_is_not_learnt() -> None:
    random = np.random.default_rng(3)
    before, after = random.normal(0.1, 0.005, size=100), random.normal(0.2, 0.005, size=100)
    mean = Mean(WINDOW, student_t(1e-5))
    assert mean.watch(np.concatenate([before, after])) == 99  # the last window has not ended


def test_a_change_that_does_not_matter_is_no_violation() -> None:
    random = np.random.default_rng(4)
    means = np.concatenate([random.normal(0.1, 1e-5, size=100), random.normal(0.101, 1e-5, size=20)])
    assert watched(means, 1e5, change=0.01) == 0
    assert watched(means, 1e5) > 0


def test_windows_of_few_rows_are_neither_judged_nor_learnt() -> None:
    mean = Mean(WINDOW, student_t(1e-5), rows=10)
    for window in range(1, 100):
        assert not mean.add(5.0, 9, window * WINDOW)
    for window in range(100, 140):
        assert not mean.add(1.0, 10, window * WINDOW)


def test_a_constant_output_is_unlike_itself_only_when_it_changes() -> None:
    assert watched(np.full(1000, 0.1), 1e5) == 0
    assert watched(np.append(np.full(100, 0.1), [0.1001, 0.1, 0.1]), 1e5) == 1
