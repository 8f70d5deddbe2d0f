"""Honest tenants: what each kind sends."""

import copy

import numpy as np
import pytest

from loadtests.detection import tables, tenants
from loadtests.detection.tables import Floats, Table, distances, spacing
from loadtests.detection.tenants import KINDS, Tenants


@pytest.fixture(scope="module")
def table() -> Table:
    return tables.load("digits")


@pytest.fixture(scope="module")
def five(table: Table) -> Tenants:
    """One of each kind."""
    return Tenants(table, len(KINDS), seed=1)


def nearest(rows: Floats, table: Table) -> Floats:
    return distances(rows, table.pool).min(axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_sends_rows_that_lie_among_the_pool(table: Table, five: Tenants, kind: str) -> None:
    rows = five.rows(KINDS.index(kind), 400)
    assert rows.shape == (400, table.features)
    assert np.median(nearest(rows, table)) < 1.2 * spacing(table.pool)


def test_some_rows_are_the_pools_own_and_most_are_new(table: Table, five: Tenants) -> None:
    own = nearest(five.rows(KINDS.index(tenants.IID), 1000), table) < tables.SAME
    assert 0.2 < own.mean() < 0.4


def test_a_repeating_tenant_sends_few_different_rows(five: Tenants) -> None:
    def different(kind: str) -> int:
        return len(np.unique(five.rows(KINDS.index(kind), 500).round(6), axis=0))

    assert different(tenants.REPEATING) < 60 + 0.2 * 500
    assert different(tenants.IID) > 400


def test_a_clustered_tenant_stays_nearer_to_itself_than_one_that_is_everywhere(five: Tenants) -> None:
    def spread(kind: str) -> float:
        return float(five.rows(KINDS.index(kind), 1000).var(axis=0).sum())

    assert spread(tenants.CLUSTERED) < 0.9 * spread(tenants.IID)


def test_no_tenant_is_at_home_in_a_handful_of_outliers(table: Table) -> None:
    made = Tenants(table, 80, seed=5)
    for tenant in range(KINDS.index(tenants.CLUSTERED), 80, len(KINDS)):
        gaps = distances(made.rows(tenant, 300), table.pool)
        real = gaps.argmin(axis=1)[gaps.min(axis=1) < tables.SAME]
        assert np.bincount(real).max() < 0.3 * len(real)


def test_a_burst_comes_from_one_place(five: Tenants) -> None:
    bursty = five.rows(KINDS.index(tenants.BURSTY), tenants.SHORTEST_BURST)
    anywhere = five.rows(KINDS.index(tenants.IID), tenants.SHORTEST_BURST)
    assert np.median(distances(bursty, bursty)) < 0.8 * np.median(distances(anywhere, anywhere))


def test_a_drifting_tenant_has_gone_one_spacing_in_the_end(table: Table, five: Tenants) -> None:
    def mean(progress: float) -> Floats:
        some = copy.deepcopy(five)
        return np.asarray(some.rows(KINDS.index(tenants.DRIFTING), 200, progress).mean(axis=0))

    assert np.linalg.norm(mean(1.0) - mean(0.0)) == pytest.approx(spacing(table.pool))


def test_features_with_few_values_keep_to_them() -> None:
    random = np.random.default_rng(0)
    rows = np.column_stack([random.normal(size=400), random.integers(0, 3, 400)])
    fresh = tenants.Fresh(rows, np.zeros(400, np.int64), 0).like(np.arange(400))
    assert set(fresh[:, 1]) <= {0.0, 1.0, 2.0}
    assert not set(fresh[:, 0]) & set(rows[:, 0])
