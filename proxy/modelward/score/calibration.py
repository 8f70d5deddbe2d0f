"""From scores to p-values: the share of held-back training rows that score at least as high.

Every training row is held back once: the rows are dealt into FOLDS parts, and each part is scored by a geometry fitted
without it (standardisation, views and cells), so no score is lowered by a prototype that has seen its row. The space
and the weighting alone are chosen once, from all rows. The profile that serves is then fitted on all rows. It has seen
a little more than any of the geometries that calibrated it, so that its scores of new rows are if anything lower: the
false positive rate errs downwards.

Where counting ends, a power law is fitted to the highest scores, so that rates below 1 / rows have a threshold too. It
is fitted to 1 + score: a few held-back rows at hundreds of deviations, which real tables have, do not carry it away as
they do a generalised Pareto distribution of the score itself.

Sources: Vovk, "Cross-conformal predictors" (2015); Barber et al., "Predictive inference with the jackknife+" (2021);
Hill, "A simple general approach to inference about the tail of a distribution" (1975).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

FOLDS = 10
# Of the cells: as many rows a cell as there are when all rows are there. More would describe the rows better than the
# profile that serves does, and p-values would be too low.
PART = 1.0 - 1.0 / FOLDS
MAX_KNOTS = 256
# The tail is fitted to this part of the rows, within these bounds: where counting is precise, counting is better.
TAIL_PART = 0.05
TAIL_LEAST, TAIL_MOST = 10, 50
# Steeper than any tail of real scores, and what keeps rounding from passing for one.
MAX_TAIL_INDEX = 100.0
# Of a tail that no row reached: halving p takes doubling 1 + score.
UNSEEN_TAIL_INDEX = 1.0
# Scores below are equal: instruction sets round differently by less than a thousandth of a standard deviation.
RESOLUTION = 1e-3

Doubles = npt.NDArray[np.float64]


class Calibration(Struct, frozen=True):
    """p-value of a score: 1 below the first knot, linear between knots, and beyond the last
    knot_p[-1] * ((1 + score) / (1 + knot_score[-1])) ** -tail_index.
    knot_score (k,) rises, knot_p (k,) falls; tail_index > 0.
    """

    knot_score: Doubles
    knot_p: Doubles
    tail_index: float

    def threshold(self, rate: float) -> float:
        """The score whose p-value is `rate`, 0 < rate <= 1."""
        if rate >= self.knot_p[0]:
            return float(self.knot_score[0])
        if rate >= self.knot_p[-1]:
            return float(np.interp(rate, self.knot_p[::-1], self.knot_score[::-1]))
        growth = (self.knot_p[-1] / rate) ** (1.0 / self.tail_index)
        return float((1.0 + self.knot_score[-1]) * growth - 1.0)


def calibrate(scores: Doubles) -> Calibration:
    """Calibration from scores (n,) of rows held back, n >= 2.

    At a knot the p-value is the conformal one, (1 + rows scoring at least as high) / (n + 1). Where there are more rows
    than knots, neighbouring knots differ by a few percent in p.
    """
    ordered = np.sort(np.maximum(scores, RESOLUTION))
    n = len(ordered)
    exceed = min(max(TAIL_LEAST, min(TAIL_MOST, int(np.ceil(TAIL_PART * n)))), n // 2)
    start = ordered[n - exceed - 1]
    ranks = np.geomspace(exceed + 1, n, MAX_KNOTS).round().astype(np.intp)  # p-values in equal ratios
    body = np.unique(ordered[n - ranks])
    p: Doubles = (1.0 + n - np.searchsorted(ordered, body, side="left")).astype(np.float64) / (n + 1.0)
    beyond = ordered[ordered > start]
    if len(beyond) == 0:  # the highest score is shared by many rows: above it lies what no row ever scored
        body, p = np.append(body, np.nextafter(start, np.inf)), np.append(p, 1.0 / (n + 1.0))
        return Calibration(body, p, UNSEEN_TAIL_INDEX)
    slope = float(np.mean(np.log1p(beyond) - np.log1p(start)))
    return Calibration(body, p, 1.0 / max(slope, 1.0 / MAX_TAIL_INDEX))
