"""From scores to p-values: the share of held-back training rows that score at least as high.

Every training row is held back once: the rows are dealt into FOLDS parts, and each part is scored by a geometry fitted
without it (standardisation, metric and centroids), so no score is lowered by a centroid that has seen its row. The
profile that serves is then fitted on all rows. It has seen a little more than any of the geometries that calibrated it, so
that its scores of new rows are if anything lower: the false positive rate errs downwards.

Beyond the highest scores no counting can resolve, a generalised Pareto tail is fitted to the exceedances, so that rates
below 1 / rows have a threshold too.

Sources: Vovk, "Cross-conformal predictors" (2015); Barber et al., "Predictive inference with the jackknife+" (2021);
Pickands (1975) for the tail; Hosking and Wallis (1987) for fitting it by probability-weighted moments.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FOLDS = 10
MAX_KNOTS = 256
TAIL_PART = 0.05  # of the rows feed the tail,
TAIL_LEAST = 10  # and at least this many, or half of them
# Shape 0 is an exponential tail, 0.5 the heaviest with a variance. Below 0 the tail would end, and every row beyond
# its end would be equally impossible.
MAX_SHAPE = 0.5

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """p-value of a score: 1 below the first knot, linear between knots, and beyond the last
    knot_p[-1] * (1 + tail_shape * (score - knot_score[-1]) / tail_scale) ** (-1 / tail_shape),
    exponential where tail_shape is 0. knot_score (k,) rises, knot_p (k,) falls; tail_scale > 0.
    """

    knot_score: Doubles
    knot_p: Doubles
    tail_scale: float
    tail_shape: float

    def threshold(self, rate: float) -> float:
        """The score whose p-value is `rate`, 0 < rate <= 1."""
        if rate >= self.knot_p[0]:
            return float(self.knot_score[0])
        if rate >= self.knot_p[-1]:
            return float(np.interp(rate, self.knot_p[::-1], self.knot_score[::-1]))
        ratio = self.knot_p[-1] / rate
        z = (ratio**self.tail_shape - 1.0) / self.tail_shape if self.tail_shape > 0.0 else np.log(ratio)
        return float(self.knot_score[-1] + self.tail_scale * z)


def calibrate(scores: Doubles) -> Calibration:
    """Calibration from scores (n,) of rows held back, n >= 2.

    At a knot the p-value is the conformal one, (1 + rows scoring at least as high) / (n + 1); between knots it is never
    below it.
    """
    ordered = np.sort(scores)
    n = len(ordered)
    exceed = min(max(TAIL_LEAST, int(np.ceil(TAIL_PART * n))), n // 2)
    start = ordered[n - exceed - 1]
    body = np.unique(ordered[: n - exceed])
    if len(body) > MAX_KNOTS:
        body = body[np.linspace(0, len(body) - 1, MAX_KNOTS).round().astype(np.intp)]
    p = (1.0 + n - np.searchsorted(ordered, body, side="left")) / (n + 1.0)
    beyond = ordered[ordered > start] - start
    scale, shape = _tail(beyond)
    if len(beyond) == 0:  # the highest score is shared by many rows: above it lies what no row ever scored
        above = float(np.nextafter(start, np.inf))
        body, p = np.append(body, above), np.append(p, 1.0 / (n + 1.0))
    return Calibration(body, p, scale, shape)


def _tail(beyond: Doubles) -> tuple[float, float]:
    """Scale and shape of a generalised Pareto distribution fitted to ascending exceedances (k,)."""
    k = len(beyond)
    if k == 0:
        return 1.0, 0.0  # one standard deviation of one feature: nothing was seen to measure by
    mean = float(beyond.mean())
    weighted = float((beyond * (1.0 - (np.arange(1, k + 1) - 0.35) / k)).mean())
    spread = mean - 2.0 * weighted
    shape = 2.0 - mean / spread if spread > 0.0 else MAX_SHAPE
    shape = float(np.clip(shape, 0.0, MAX_SHAPE))
    return mean * (1.0 - shape), shape  # the mean of the exceedances is kept
