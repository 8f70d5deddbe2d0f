import numpy as np
import pytest

from modelward.score import choice, views
from modelward.score.choice import PLAIN, TWO_VIEWS, WEIGHTS, Choice
from modelward.score.neighbours import nearest_distances


def test_distances_to_the_nearest_rows_are_exact_and_leave_a_row_itself_out():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 7)).astype(np.float32)
    pick = rng.permutation(300)[:50]
    every = np.linalg.norm(rows[pick, None].astype(np.float64) - rows[None], axis=2)
    np.testing.assert_allclose(nearest_distances(rows[pick], rows, 10), np.sort(every)[:, :10], rtol=1e-6)
    np.testing.assert_allclose(nearest_distances(rows[pick], rows, 10, pick), np.sort(every)[:, 1:11], rtol=1e-6)


def test_the_last_distance_is_repeated_where_there_are_too_few_rows():
    rows = np.array([[0.0], [1.0], [3.0]], np.float32)
    found = nearest_distances(rows, rows, 5, np.arange(3))
    np.testing.assert_allclose(found, [[1, 3, 3, 3, 3], [1, 2, 2, 2, 2], [2, 3, 3, 3, 3]])


def test_every_space_is_rated_with_every_weighting_and_the_best_is_chosen():
    z = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    z[:, 2] = z[:, 0] + 0.1 * z[:, 2]
    rated = choice.rate(z, np.random.default_rng(1))
    assert list(rated) == [Choice(space, weighting) for space in (PLAIN, TWO_VIEWS) for weighting in WEIGHTS]
    assert all(0.5 < value < 1.0 for value in rated.values())
    assert choice.choose(z, np.random.default_rng(1)) == max(rated, key=rated.get)


def test_two_views_are_chosen_where_tails_hide_what_features_have_in_common():
    rng = np.random.default_rng(0)
    one = rng.lognormal(0, 2, (1000, 1))
    z = np.concatenate([one, one * rng.lognormal(0, 0.1, (1000, 1)), 1 / one], axis=1)
    z = ((z - z.mean(axis=0)) / z.std(axis=0)).astype(np.float32)
    assert choice.choose(z, rng).space == TWO_VIEWS


@pytest.mark.parametrize("features", [0, 1])
def test_with_nothing_to_choose_by_the_choice_is_fixed(features):
    assert choice.choose(np.zeros((50, features), np.float32), np.random.default_rng(0)) == choice.UNCHOSEN


def test_rows_of_many_features_have_the_plain_space_alone():
    z = np.random.default_rng(0).standard_normal((40, views.MAX_FEATURES + 1)).astype(np.float32)
    assert {each.space for each in choice.rate(z, np.random.default_rng(0))} == {PLAIN}
