"""Distributions of the features of training rows, as a profile still has them."""

import numpy as np
import pytest

from modelward.score import Profile
from modelward.score.marginals import BARS, marginals


def normal(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(5, 3, (1_500, 4))


def heavy(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(1_500, 4)) ** 3 * np.array([1, 10, 100, 1000])


@pytest.mark.parametrize("made", [normal, heavy])
def test_bars_hold_the_shares_that_training_rows_have(made) -> None:
    rows = made(np.random.default_rng(0))
    found = marginals(Profile.fit(rows).geometry, [0, 3])
    for feature, marginal in zip((0, 3), found, strict=True):
        held = np.bincount(np.searchsorted(marginal.edges, rows[:, feature]), minlength=BARS) / len(rows)
        assert len(marginal.edges) == BARS - 1
        assert np.abs(held - marginal.shares).max() < 0.02


def test_a_feature_of_few_values_has_a_bar_for_each() -> None:
    rng = np.random.default_rng(0)
    rows = np.stack([rng.choice([0.0, 1.0, 7.0], 800, p=[0.7, 0.2, 0.1]), rng.normal(size=800), np.full(800, 3.0)], 1)
    few, _, constant = marginals(Profile.fit(rows).geometry, [0, 1, 2])
    assert few.edges == pytest.approx((0.5, 4.0), abs=1e-3)
    assert few.shares == pytest.approx((0.7, 0.2, 0.1), abs=0.05)
    assert (constant.edges, constant.shares) == ((), (1.0,))
