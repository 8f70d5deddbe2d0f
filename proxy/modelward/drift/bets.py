"""What is bet on: tables over levels of a rank, each with mean 1, so that no change pays nothing.

A rank is uniform in [0, 1] while nothing has changed (ranks.py) and is cut into LEVELS. A bet on level l pays
table[l], and what it has made is evidence: after a change the product of its payments grows as exp(rows * KL), where
KL is how unlike uniform the ranks are, as far as this bet sees it. Fixed bets are on a move of the mean or scale, in
sizes that differ by a factor of two, on more rows at an end, and on more rows of a range: a cluster, a category. Learnt
bets are on more of what was seen lately, whatever it is: they see a gap, a new cluster, a category that comes or goes.

Tolerance: where the true distribution of levels differs from uniform by at most `tolerance` in total variation, a bet
pays at most 1 + tolerance * (highest - lowest payment) in the mean. Divided by that, it pays nothing for such changes.

Sources: Shafer, "Testing by betting" (2021); Vovk, Gammerman and Shafer, "Algorithmic learning in a random world"
(2022), chapter 8; Krichevsky and Trofimov (1981) for what learnt bets begin with.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

EQUAL = 64
TAIL = 1 / 1024
"""Of [0, 1], at either end: a level of its own, for values that were hardly ever seen."""
LEVELS = EQUAL + 2
UNRANKED = LEVELS
"""In place of a level where a row says nothing: nothing is bet on it."""
WIDTHS = np.array([TAIL, 1 / EQUAL - TAIL, *[1 / EQUAL] * (EQUAL - 2), 1 / EQUAL - TAIL, TAIL])
CELLS = 16
"""Neighbouring levels that a learnt bet takes together: fewer are learnt from fewer rows."""
SHIFTS = (0.25, 0.5, 1.0, 2.0)
SCALES = (0.5, 0.71, 1.41, 2.0)
MEMORIES = (64.0, 512.0, 4096.0)
"""Rows after which what was seen weighs 1/e, of each learnt bet."""
STAKES = 0.7
"""Of a learnt bet: the rest is kept, so that a level that it has not seen does not end it."""
PRIOR = 0.5
RARE = (3.0, 30.0)
"""What a bet on one end, a tail or all of its 64th, pays there beside 1."""
RANGES = ((1, 1), (2, 1), (4, 2))
"""Widths of ranges and how far apart they begin, in cells."""
GAINS = (0.1, 0.3)
"""Of a bet on a range: this part of all rows comes to lie there, beside those that did."""
_RANGES = [(begin, width) for width, apart in RANGES for begin in range(0, CELLS - width + 1, apart)]
_SHAPES = 2 * len(SHIFTS) + len(SCALES) + 4 * len(RARE)
FIXED = _SHAPES + len(GAINS) * len(_RANGES)
BETS = FIXED + len(MEMORIES)
RANGES_WEIGH = 8.0
"""All bets on ranges together, where each other bet weighs 1."""

Doubles = npt.NDArray[np.float64]

_CELL = np.zeros((LEVELS, CELLS))
_CELL[np.arange(LEVELS), np.clip((np.arange(LEVELS) - 1) * CELLS // EQUAL, 0, CELLS - 1)] = 1.0


def fixed_tables() -> Doubles:
    """(LEVELS, FIXED) payments: ranks of values from N(shift, 1) or N(0, scale) among values from N(0, 1); more values
    at an end, or in a range."""
    usual = NormalDist()
    edges = [usual.inv_cdf(edge) for edge in np.cumsum(WIDTHS)[:-1].tolist()]
    moved = [NormalDist(sign * shift, 1) for shift in SHIFTS for sign in (1, -1)]
    moved += [NormalDist(0, scale) for scale in SCALES]
    below = np.array([[0.0, *map(each.cdf, edges), 1.0] for each in moved])
    tables = np.diff(below, axis=1).T / WIDTHS[:, None]
    ends = [np.isin(np.arange(LEVELS), end) for end in ([0], [0, 1], [LEVELS - 1], [LEVELS - 2, LEVELS - 1])]
    rare = np.array([1.0 + pays * end for end in ends for pays in RARE]).T
    inside = np.array([_CELL[:, begin : begin + width].sum(axis=1) for begin, width in _RANGES]).T
    more = [(1.0 - gain) + gain * inside / (WIDTHS @ inside) for gain in GAINS]
    payments: Doubles = np.concatenate([tables, rare / (WIDTHS @ rare), *more], axis=1)
    return payments


def weights() -> Doubles:
    """(BETS,) of each bet in the mean over all; their sum is 1."""
    each = np.ones(BETS)
    each[_SHAPES:FIXED] = RANGES_WEIGH / (FIXED - _SHAPES)
    shares: Doubles = each / each.sum()
    return shares


def tolerant(tables: Doubles, tolerance: float) -> Doubles:
    """Logarithms of tables (..., LEVELS or CELLS, bets) that pay nothing within the tolerance."""
    mean = 1.0 + tolerance * (tables.max(axis=-2, keepdims=True) - tables.min(axis=-2, keepdims=True))
    logs: Doubles = np.log(np.maximum(tables, 1e-9)) - np.log(mean)
    return logs


def level_of(rank: Doubles) -> npt.NDArray[np.uint8]:
    """Levels of ranks in [0, 1]."""
    levels = np.minimum((rank * EQUAL).astype(np.uint8), EQUAL - 1) + np.uint8(1)
    levels[rank >= 1.0 - TAIL] = LEVELS - 1
    levels[rank < TAIL] = 0
    return levels


class LearntBets:
    """Of `signals` signals: what their levels were lately, forgotten at several speeds."""

    def __init__(self, signals: int, tolerance: float) -> None:
        self.seen = np.full((len(MEMORIES), signals, CELLS), 1.0)
        self._memories = np.array(MEMORIES)
        self._tolerance = tolerance

    def logs(self, counts: Doubles) -> Doubles:
        """(signals, memories): logarithm of what the bets pay for a batch, before they learn from it.

        counts: (signals, LEVELS) rows of the batch.
        """
        cells = counts @ _CELL
        seen = self.seen + PRIOR
        tables = (1.0 - STAKES) + STAKES * CELLS * seen / seen.sum(axis=2, keepdims=True)
        made: Doubles = np.einsum("msc,sc->sm", tolerant(tables.swapaxes(1, 2), self._tolerance).swapaxes(1, 2), cells)
        rows = cells.sum(axis=1).max(initial=0.0)
        self.seen = self.seen * np.exp(-rows / self._memories)[:, None, None] + cells
        return made
