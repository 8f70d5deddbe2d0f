"""How far two sides' scores are apart, held against plain arithmetic."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.shadow.drift import BINS, divergence, rank_correlation, shares, stability_index

COUNTS = st.lists(st.integers(0, 1000), min_size=30, max_size=30)


def test_equal_distributions_are_not_apart() -> None:
    cells = [0, 3, 50, 200, 50, 3, 0]
    assert stability_index(cells, cells) == pytest.approx(0.0, abs=1e-12)
    assert divergence(cells, [10 * n for n in cells]) == pytest.approx(0.0, abs=0.01)


def test_a_shift_is_seen_and_its_size_is_the_formulas() -> None:
    primary, shadow = [500, 500], [900, 100]
    p, q = [500.5 / 1001, 500.5 / 1001], [900.5 / 1001, 100.5 / 1001]
    assert stability_index(primary, shadow) == pytest.approx(
        sum((b - a) * log(b / a) for a, b in zip(p, q, strict=True))
    )
    assert divergence(primary, shadow) == pytest.approx(sum(a * log(a / b) for a, b in zip(p, q, strict=True)))
    assert stability_index(primary, shadow) > 0.25  # type: ignore[operator]


@given(COUNTS, COUNTS)
def test_neither_is_ever_negative_and_an_empty_side_has_none(primary: list[int], shadow: list[int]) -> None:
    index, nats = stability_index(primary, shadow), divergence(primary, shadow)
    assert (index is None) == (nats is None) == (not sum(primary) or not sum(shadow))
    if index is not None and nats is not None:
        assert index >= -1e-12
        assert nats >= -1e-12


@given(COUNTS)
def test_bins_are_few_and_shares_add_up(primary: list[int]) -> None:
    both = shares(primary, [1] * 30)
    if both is not None:
        assert len(both[0]) == len(both[1]) <= 2 * BINS + 1
        assert [float(side.sum()) for side in both] == pytest.approx([1.0, 1.0])


def test_what_moves_away_from_a_value_that_all_have_had_is_seen_on_either_side() -> None:
    primary = [0, 0, 100, 0, 0]
    for cell in (0, 1, 3, 4):
        shadow = [0] * 5
        shadow[cell] = 100
        index = stability_index(primary, shadow)
        assert index is not None
        assert index > 1


def test_rank_correlation_sees_order_alone() -> None:
    ours = np.random.default_rng(5).random(200)
    assert rank_correlation(list(zip(ours, ours**3, strict=True))) == pytest.approx(1.0)
    assert rank_correlation(list(zip(ours, -ours, strict=True))) == pytest.approx(-1.0)
    assert abs(rank_correlation(list(zip(ours, ours[::-1], strict=True))) or 1.0) < 0.3


def test_ties_share_their_ranks() -> None:
    # ranks 1.5 1.5 3 4 against 1 2 3.5 3.5: deviations -1 -1 .5 1.5 and -1.5 -.5 1 1
    expected = (1.5 + 0.5 + 0.5 + 1.5) / (4.5 * 4.5) ** 0.5
    assert rank_correlation([(0, 0), (0, 1), (2, 5), (3, 5)]) == pytest.approx(expected)


def test_a_constant_side_has_no_order() -> None:
    assert rank_correlation([]) is None
    assert rank_correlation([(1.0, 2.0)]) is None
    assert rank_correlation([(1.0, 2.0), (1.0, 3.0)]) is None
