import numpy as np
import pytest

from modelward.score import views
from modelward_native.score.score import CLIP, KNOTS


def standardised(rows):
    return ((rows - rows.mean(axis=0)) / rows.std(axis=0)).astype(np.float32)


def fitted(rows, seed=0):
    z = standardised(rows)
    return views.fit(z, np.random.default_rng(seed)), z


def test_the_robust_view_has_the_middle_half_of_a_normal_variable_at_its_quartiles():
    heavy = np.random.default_rng(0).standard_t(2, (4000, 1))
    fit, z = fitted(heavy)
    low, middle, high = np.percentile(fit.map(z)[:, 0], (25, 50, 75))
    assert middle == pytest.approx(0, abs=1e-5)
    assert high - low == pytest.approx(2 * 0.6745, rel=1e-3)


def test_the_quantile_view_of_any_continuous_variable_is_normal():
    for draw in ("lognormal", "uniform", "exponential"):
        rows = getattr(np.random.default_rng(0), draw)(size=(5000, 1))
        fit, z = fitted(rows)
        shares = np.percentile(fit.quantile(z), (2.5, 16, 50, 84, 97.5))
        np.testing.assert_allclose(shares, (-1.96, -1, 0, 1, 1.96), atol=0.1)


def test_equal_values_have_the_middle_of_the_ranks_that_they_share():
    fit, z = fitted(np.repeat([[0.0], [1.0]], [300, 100], axis=0))
    np.testing.assert_allclose(
        np.unique(fit.quantile(z)), (views.NORMAL.inv_cdf(0.375), views.NORMAL.inv_cdf(0.875)), rtol=1e-5
    )


def test_a_curve_rises_and_goes_on_with_a_slope_of_one():
    fit, _ = fitted(np.random.default_rng(0).lognormal(size=(3000, 1)))
    knots = fit.knots[0]
    assert knots.shape == (KNOTS,)
    assert (np.diff(knots) >= 0).all()
    assert (np.diff(np.unique(fit.normals[0])) < 0.5).all()
    ends = np.array([[knots[0] - 2], [knots[0]], [knots[-1]], [knots[-1] + 3]], np.float32)
    np.testing.assert_allclose(np.diff(fit.quantile(ends)[:, 0])[[0, 2]], (2, 3), rtol=1e-4)


def test_knots_closer_than_rounding_are_left_out():
    near = 1 + np.arange(2000.0)[:, None] * 1e-9
    fit, _ = fitted(np.concatenate([near, [[1e6]]]))
    kept = np.unique(fit.knots[0])
    assert len(kept) <= 3
    assert kept[-1] == fit.knots[0, -1]


@pytest.mark.parametrize("value", [1e30, -1e30])
def test_what_is_far_out_is_cut(value):
    fit, _ = fitted(np.random.default_rng(0).standard_normal((100, 1)))
    robust, quantile = fit.map(np.array([[value]], np.float32))[0]
    assert robust == np.sign(value) * CLIP
    assert np.isfinite(quantile)


def test_both_views_are_as_far_apart_between_neighbours():
    mixed = np.random.default_rng(1).standard_normal((5, 5))
    fit, z = fitted(np.random.default_rng(0).standard_t(3, (1000, 5)) @ mixed)
    robust, quantile = (np.sort(np.linalg.norm(half[:200, None] - half[None], axis=2), axis=1)[:, 1:4].mean()
                        for half in np.split(fit.map(z), 2, axis=1))  # fmt: skip
    assert quantile == pytest.approx(robust, rel=0.3)


def test_the_metric_sees_a_combination_that_correlated_features_never_take():
    rng = np.random.default_rng(0)
    one = rng.standard_normal((2000, 1))
    fit, _ = fitted(np.concatenate([one, one + 0.1 * rng.standard_normal((2000, 1))], axis=1))
    along, across = fit.map(np.array([[1, 1], [1, -1]], np.float32))[:, 2:]
    centre = fit.map(np.zeros((1, 2), np.float32))[0, 2:]
    assert np.linalg.norm(across - centre) > 1.5 * np.linalg.norm(along - centre)
