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


def bins(primary: Sequence[float]) -> npt.NDArray[np.intp]:
    """First cells of about BINS bins of neighbouring cells, of a tenth of the primary's values or more, of which there
    must be some. A cell that holds as much alone is a bin alone, so that what moves to the empty ones before it shows.
    """
    counts = np.array(primary, np.float64)
    before = np.cumsum(counts) - counts
    _, starts = np.unique(np.floor(before * BINS / counts.sum()).astype(np.intp), return_index=True)
    return np.union1d(starts, np.flatnonzero(counts * BINS >= counts.sum()))


def shares(primary: Sequence[float], shadow: Sequence[float]) -> tuple[Doubles, Doubles] | None:
    """Both sides' shares in the primary's bins; None where a side has no values."""
    ours, theirs = np.array(primary, np.float64), np.array(shadow, np.float64)
    if ours.sum() == 0 or theirs.sum() == 0:
        return None
    starts = bins(primary)
    counts = [np.add.reduceat(side, starts) + PRIOR for side in (ours, theirs)]
    return counts[0] / counts[0].sum(), counts[1] / counts[1].sum()


def stability_index(primary: Sequence[float], shadow: Sequence[float]) -> float | None:
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
