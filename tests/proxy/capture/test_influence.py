"""Caps on what comes from one identity, and on rows that are alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.capture.duplicates import clusters, nearest
from modelward.capture.influence import capped, influence, largest_allowed, thinned

COUNTS = st.lists(st.integers(0, 300), min_size=1, max_size=40)


@given(COUNTS, st.floats(0.01, 1))
def test_no_identity_has_more_than_its_share_where_that_can_be(counts: list[int], share: float):
    most = largest_allowed(np.array(counts), share)
    kept = np.minimum(counts, most)
    present = sum(count > 0 for count in counts)
    if present and present * share > 1 and most > 1:
        assert kept.max() <= share * kept.sum() + 1
    more = np.minimum(counts, most + 1)
    assert (more == kept).all() or present * share <= 1 or more.max() > share * more.sum() or not present


def test_a_share_that_too_few_identities_can_have_makes_them_alike():
    of = np.repeat([0, 1, 2], [1000, 100, 90])
    kept = capped(of, np.ones(len(of), bool), 0.05, np.random.default_rng(0))
    assert np.bincount(of[kept]).tolist() == [100, 100, 90]


def test_influence_counts_identities_by_how_alike_their_shares_are():
    found = influence(np.repeat([0, 1, 2, 3], [100, 100, 100, 100]), "abcd")
    assert (found.identities, found.effective) == (4, pytest.approx(4))
    skewed = influence(np.repeat([0, 1], [900, 100]), "ab")
    assert skewed.effective == pytest.approx(1 / (0.81 + 0.01))
    assert skewed.largest == (("a", 900, 0.9), ("b", 100, 0.1))


def test_near_duplicates_are_thinned_in_turn_so_that_no_identity_crowds_others_out():
    cluster = np.zeros(1010, np.int64)
    of = np.repeat([0, 1], [1000, 10])
    kept = thinned(cluster, of, np.ones(1010, bool), 20, np.random.default_rng(0))
    assert np.bincount(of[kept]).tolist() == [10, 10]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=1, max_size=60), st.integers(1, 5)
)
def test_thinning_keeps_what_it_may_of_each_cluster(rows: list[tuple[int, int, bool]], most: int):
    cluster, of, keep = (np.array(each) for each in zip(*rows, strict=True))
    stays = thinned(cluster, of, keep, most, np.random.default_rng(0))
    assert not (stays & ~keep).any()
    for each in range(4):
        assert (stays & (cluster == each)).sum() == min(most, (keep & (cluster == each)).sum())


def test_rows_that_are_alike_share_a_cluster_and_others_mostly_do_not():
    random = np.random.default_rng(0)
    honest = random.normal(size=(2000, 8)).astype(np.float32)
    walk = honest[:1] + random.normal(0, 1e-4, size=(300, 8)).astype(np.float32)
    found = clusters(np.concatenate([honest, walk]))
    assert np.bincount(found[2000:]).max() > 200
    assert np.bincount(found[:2000]).max() < 30


def test_the_nearest_rows_are_those_that_a_full_search_finds():
    random = np.random.default_rng(1)
    queries, reference = random.normal(size=(40, 5)).astype(np.float32), random.normal(size=(200, 5)).astype(np.float32)
    index, distance = nearest(queries, reference, 7)
    away = np.linalg.norm(queries[:, None] - reference[None], axis=2)
    assert (index == np.argsort(away, axis=1)[:, :7]).all()
    assert distance == pytest.approx(np.sort(away, axis=1)[:, :7], abs=1e-3)
