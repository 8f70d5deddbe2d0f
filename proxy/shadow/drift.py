"""How far the scores of two sides are apart as distributions, and whether they put cases in the same order.

None of these decides a verdict: they say where to look. Population stability index: Lewis, "An introduction to credit
scoring" (1994); divergence: Kullback and Leibler (1951); rank correlation: Spearman (1904), ties with mean ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BINS = 10  # the index' customary deciles
PRIOR = 0.5  # values added to each bin of both sides, so that an empty one costs what it can be known to

Doubles = npt.NDArray[np.float64]


def shares(primary: Sequence[int], shadow: Sequence[int]) -> tuple[Doubles, Doubles] | None:
    """Both sides' shares in at most BINS + 1 bins of neighbouring cells, each but the last holding a tenth or more of
    the primary's values; None where a side has no values."""
    ours, theirs = np.array(primary, np.float64), np.array(shadow, np.float64)
    if ours.sum() == 0 or theirs.sum() == 0:
        return None
    before = np.cumsum(ours) - ours
    bins = np.floor(before * BINS / ours.sum()).astype(np.intp)
    _, starts = np.unique(bins, return_index=True)
    counts = [np.add.reduceat(side, starts) + PRIOR for side in (ours, theirs)]
    return counts[0] / counts[0].sum(), counts[1] / counts[1].sum()


def stability_index(primary: Sequence[int], shadow: Sequence[int]) -> float | None:
    """Population stability index of counts by cell; customarily below 0.1 is none, above 0.25 much."""
    both = shares(primary, shadow)
    return None if both is None else float(np.sum((both[1] - both[0]) * np.log(both[1] / both[0])))


def divergence(primary: Sequence[int], shadow: Sequence[int]) -> float | None:
    """Kullback-Leibler divergence of the primary from the shadow in nats: what a coder pays who expects the shadow."""
    both = shares(primary, shadow)
    return None if both is None else float(np.sum(both[0] * np.log(both[0] / both[1])))


def rank_correlation(scores: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's, -1 to 1, of pairs of scores (primary, shadow); None where a side has but one value."""
    if len(scores) < 2:
        return None
    ours, theirs = (_ranks(side) for side in np.array(scores, np.float64).T)
    deviation = float(ours.std() * theirs.std())
    if deviation == 0.0:
        return None
    return float(np.clip(np.mean((ours - ours.mean()) * (theirs - theirs.mean())) / deviation, -1.0, 1.0))


def _ranks(values: Doubles) -> Doubles:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Doubles = (last - (counts - 1) / 2.0)[place.reshape(-1)]
    return ranks
