import numpy as np
import pytest

from modelward.score import cells
from modelward_native.score.score import MAX_CELLS, MAX_PROTOTYPES


def rows(count, dimensions=4, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)


def fitted(table, limit=MAX_CELLS):
    return cells.fit(table, limit, np.random.default_rng(0))


@pytest.mark.parametrize("count", [1, 20, 500, 2500])
def test_all_rows_of_a_small_table_are_prototypes(count):
    found = fitted(rows(count))
    assert len(found.counts) == count
    assert (found.counts == 1).all()
    np.testing.assert_array_equal(np.unique(found.prototypes, axis=0), np.unique(rows(count), axis=0))


def test_a_large_table_has_as_many_prototypes_as_there_is_room_for_and_every_row_is_counted():
    found = fitted(rows(20_000))
    assert len(found.means) == MAX_CELLS
    assert np.diff(found.first).max() == MAX_PROTOTYPES
    assert found.counts.sum() == 20_000


def test_copies_of_a_row_are_one_prototype():
    found = fitted(np.repeat(rows(30), 40, axis=0))
    assert len(found.counts) == 30
    assert (found.counts == 40).all()


def test_rows_that_are_all_the_same_are_one_cell_of_radius_zero():
    found = fitted(np.ones((300, 3), np.float32))
    assert (len(found.means), len(found.counts), found.radius.tolist()) == (1, 1, [0.0])


def test_mean_and_radius_of_a_cell_are_those_of_its_rows():
    table = rows(900)
    found = fitted(table)
    for i in range(len(found.means)):
        members = found.prototypes[found.first[i] : found.first[i + 1]]  # all rows are prototypes
        np.testing.assert_allclose(found.means[i], members.mean(axis=0), atol=1e-5)
        spread = np.sqrt(((members - members.mean(axis=0)) ** 2).sum(axis=1).mean())
        assert found.radius[i] == pytest.approx(spread, rel=1e-4)


def test_a_limit_of_cells_is_kept_and_wide_rows_have_fewer():
    assert len(fitted(rows(5000), 10).means) == 10
    assert cells.most(4096) == MAX_CELLS
    assert cells.most(1 << 17) == 4
    assert cells.most(1 << 30) == 1
