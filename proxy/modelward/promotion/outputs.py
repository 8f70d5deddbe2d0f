"""How much the distribution of a version's answers differs, at least, from that of the versions it takes over from.

What is compared is a sample of answers by the cells of their scores (shadow/compare.h, mw_sketch_add), by the
population stability index (shadow/drift.py) over about ten bins of the incumbents' quantiles. An answer is one
observation: to a bin it adds the part of its scores that lie there, a value in [0, 1], and the mean of those, the bin's
share, has a confidence sequence (shadow/sequence.py). The bins follow what has been seen, and may be others at
each look: so the level is divided by the number of all ranges of neighbouring cells, and of sides. With a probability
of at most `level` any share of any range ever leaves its interval, whenever and however often one looks; while none
has, the index is at least what the nearest ends of two intervals give, for a term (q - p) ln(q / p) grows as q and p
part. Bins that are merged cells can only lower the index (Ali and Silvey, "A general class of coefficients of
divergence of one distribution from another", 1966).

Assumed is that an answer's expected parts, given all answers before it, are those of its side. Traffic that changes
with time changes both sides alike as long as their shares stay: compare within a step. Where a header or the identity
of the caller decides the version, the two sides have other callers, and a few of these may differ as much as versions
do: see `caller_count`. Between sides of n callers with nothing in common the index is about (bins - 1) / n.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log

from modelward.shadow.sequence import Interval, mean_interval
from modelward_native.shadow.sketch import SCORE_EDGES, SKETCH_ANSWER

CELLS = len(SCORE_EDGES) + 1
RANGES = CELLS * (CELLS + 1) // 2


def answers(cells: Sequence[int]) -> int:
    """How many are in the sample."""
    return sum(cells) // SKETCH_ANSWER


def caller_count(counts: Sequence[int]) -> float:
    """How many equal callers the sample could be of: the inverse of the chance that two of its answers are one's.

    counts: answers by a part of the hash that chose the version (shadow.evidence), so that 64 are many.
    """
    total, same = sum(counts), sum(count * (count - 1) for count in counts)
    return total * (total - 1) / same if same else float(total)


def index_lower_bound(candidate: Sequence[int], incumbent: Sequence[int], level: float, *, above: float = 0.0) -> float:
    """Lower bound of the index of the two; 0 where it is not above `above`. candidate, incumbent: counts by cell."""
    import numpy as np  # noqa: PLC0415 - 20 MB: a supervisor has it only while a version is promoted

    from modelward.shadow.drift import bins, stability_index  # noqa: PLC0415 - brings it too

    ours, theirs = (np.array(cells, np.float64) / SKETCH_ANSWER for cells in (incumbent, candidate))
    seen = stability_index(ours.tolist(), theirs.tolist())
    if seen is None or seen <= above:  # the bound cannot be above what is seen; computing it is expensive
        return 0.0
    starts, each = bins(ours.tolist()), level / (2 * RANGES)
    shares = [[_share(total, side.sum(), each) for total in np.add.reduceat(side, starts)] for side in (ours, theirs)]
    least = sum(_least(p, q) for p, q in zip(*shares, strict=True))
    return least if least > above else 0.0


def _share(total: float, count: float, level: float) -> Interval:
    return mean_interval(float(min(total, count)), float(count), level)  # sums of parts are rounded


def _least(p: Interval, q: Interval) -> float:
    """Of (q - p) ln(q / p) within the intervals."""
    low, high = (p.high, q.low) if q.low > p.high else (q.high, p.low)
    if high <= low:
        return 0.0
    return (high - low) * log(high / low) if low > 0 else inf
