"""Quantiles from histograms, with intervals that hold at all times at once.

An edge lies below the quantile of level q once the share of values at most that edge is significantly below q, and
above it once that share is significantly above q. Both are tests of a mean of zeros and ones at the one true quantile,
so that nothing is paid for looking at every edge.

Source: Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
identification" (2022), here with the mixture of modelward.shadow.sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import inf, log

from modelward.shadow.sequence import Interval, mean_evidence


def quantile_interval(cells: Sequence[float], edges: Sequence[float], q: float, level: float) -> Interval:
    """Interval of the q-quantile, 0 < q < 1, of values counted by cell; edges are the cells' upper ones, ascending.

    Its ends are edges, 0 and infinity where none is sure. It ever misses with a probability of at most `level`.
    """
    count = sum(cells)
    against = log(2.0 / level)  # either end may err with half of it: with ties they are two tests, not one
    low, high = 0.0, inf
    for edge, below in zip(edges, accumulate(cells), strict=True):
        if mean_evidence(count - below, count, 1.0 - q) >= against:
            low = edge
        elif mean_evidence(below, count, q) >= against:
            high = edge
            break
    return Interval(low, high)


def estimate(cells: Sequence[int], edges: Sequence[float], q: float) -> float | None:
    """The upper edge of the cell that the q-quantile lies in; None where nothing was counted."""
    count = sum(cells)
    for edge, below in zip(edges, accumulate(cells), strict=True):
        if count and below >= q * count:
            return edge
    return None


def ratio(over: Interval, under: Interval) -> Interval:
    """What over / under can be, both positive: of level a + b where theirs are a and b."""
    low = over.low / under.high if under.high > 0 else 0.0
    return Interval(low, over.high / under.low if under.low > 0 else inf)
