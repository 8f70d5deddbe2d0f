"""Two views of standardised features, side by side: how far a value is out, and how rare it is.

The robust view is the value in units of the middle half of the training values: outliers of the training data do not
stretch it. The quantile view is its normal score: the training distribution's quantile, as a normal variable has it.
There no tail distorts correlations, and so it is stretched by a metric: the squared Euclidean distance plus the squared
Mahalanobis distance with a shrunk covariance, which sees combinations that correlated features never take. Both views
get the same say: their typical distances between neighbours are made equal.

Sources: van der Waerden's normal scores (1952); Mahalanobis (1936); shrinking the covariance towards a multiple of the
identity, Ledoit and Wolf (2004), here with a fixed weight.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from modelward.score.neighbours import nearest_distances
from modelward_native.score.score import CLIP, KNOTS

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

MAX_FEATURES = 400  # more have no views: the metric alone would cost more than all distances
QUARTILES = 1.349  # between the 25th and the 75th percentile of a normal variable, in standard deviations
# A middle half below this is of a feature that is constant but for some rows: its standard deviation is the unit.
MIN_QUARTILE = 0.05
# Knots of a curve are at least this part of their size apart: steeper curves would magnify rounding.
MIN_GAP = 1e-4
SHRINKAGE = 0.1  # variance added to every direction, as a part of the mean variance
# Training rows that measure how far apart neighbours are, and how many neighbours of each.
SPACED_ROWS, SPACED_NEIGHBOURS = 400, 3
MIN_SPACING = 1e-3  # times the root of the number of features: of rows that nearly all have copies

NORMAL = NormalDist()


class Views(Struct, frozen=True):
    """Of f standardised features. middle, quartile (f,): the robust view of z is (z - middle) / quartile. knots,
    normals (f, KNOTS): the quantile view is linear between them, with slope 1 outside; both rise, and the last is
    repeated to fill the row. metric (f, f): the quantile view q becomes q @ metric. Both views are cut at +-CLIP."""

    middle: Floats
    quartile: Floats
    knots: Floats
    normals: Floats
    metric: Floats

    def map(self, z: Floats) -> Floats:
        """Standardised rows (n, f) in both views (n, 2 f)."""
        robust = np.clip((z - self.middle) / self.quartile, -CLIP, CLIP)
        return np.concatenate([robust, self.quantile(z) @ self.metric], axis=1, dtype=np.float32)

    def quantile(self, z: Floats) -> Floats:
        """The quantile view (n, f) before the metric."""
        first, last = self.knots[:, 0], self.knots[:, -1]
        out = np.minimum(z - first, 0.0) + np.maximum(z - last, 0.0)
        for j, (knots, normals) in enumerate(zip(self.knots, self.normals, strict=True)):
            used = np.append(np.diff(knots) > 0, True)
            out[:, j] += np.interp(z[:, j], knots[used], normals[used])
        clipped: Floats = np.clip(out, -CLIP, CLIP)
        return clipped


def fit(z: Floats, rng: np.random.Generator) -> Views:
    """Views of standardised training rows (n, f), 1 <= f <= MAX_FEATURES, n >= 2."""
    features = z.shape[1]
    low, middle, high = np.percentile(z, (25, 50, 75), axis=0)
    quartile = (high - low) / QUARTILES
    quartile = np.where(quartile > MIN_QUARTILE, quartile, 1.0)
    curves = [_curve(column) for column in np.ascontiguousarray(np.sort(z, axis=0).T, np.float64)]
    knots, normals = (np.array([curve[i] for curve in curves], np.float32) for i in (0, 1))
    plain = np.eye(features, dtype=np.float32)
    views = Views(middle.astype(np.float32), quartile.astype(np.float32), knots, normals, plain)
    views = replace(views, metric=_metric(views.quantile(z)))
    mapped = views.map(z)
    pick = rng.permutation(len(z))[:SPACED_ROWS]
    robust, quantile = (_spacing(part, pick) for part in np.split(mapped, 2, axis=1))
    return replace(views, metric=(views.metric * (robust / quantile)).astype(np.float32))


def _curve(ordered: Doubles) -> tuple[Doubles, Doubles]:
    """KNOTS of one feature's training values, rising as they are given, and their normal scores, evenly spaced as far
    as the values allow."""
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    values, counts = ordered[starts], np.diff(starts, append=len(ordered))
    share = (starts + counts / 2) / len(ordered)  # of rows below, and half of the equal ones
    at = np.arange(len(values))
    if len(values) > KNOTS:
        ends = NORMAL.inv_cdf(share[0]), NORMAL.inv_cdf(share[-1])
        wanted = [NORMAL.cdf(normal) for normal in np.linspace(*ends, KNOTS)]
        at = np.searchsorted(share, wanted).clip(0, len(values) - 1)
        at[0], at[-1] = 0, len(values) - 1
    kept = _apart(values, at)
    normals = [NORMAL.inv_cdf(share[i]) for i in kept]
    last = np.minimum(np.arange(KNOTS), len(kept) - 1)
    return values[kept][last], np.array(normals)[last]


def _apart(values: Doubles, at: npt.NDArray[np.intp]) -> list[int]:
    """Those of the indices `at` whose values are MIN_GAP apart, with the first and, where any is apart from that, the
    last."""
    kept = [int(at[0])]
    for i in at[1:].tolist():
        gap = MIN_GAP * max(abs(values[kept[-1]]), abs(values[i]))
        if values[i] - values[kept[-1]] > gap:
            kept.append(i)
    if len(kept) > 1:
        kept[-1] = int(at[-1])
    return kept


def _metric(q: Floats) -> Floats:
    features = q.shape[1]
    identity = np.eye(features, dtype=np.float32)
    if features < 2:
        return identity
    variance, direction = np.linalg.eigh(np.cov(q, rowvar=False, dtype=np.float64))
    average = float(variance.mean())
    if average <= 0.0:
        return identity
    stretch = np.sqrt(1.0 + 1.0 / (np.maximum(variance, 0.0) / average + SHRINKAGE))
    metric: Floats = ((direction * stretch) @ direction.T).astype(np.float32)
    return metric


def _spacing(rows: Floats, pick: npt.NDArray[np.intp]) -> float:
    """The typical distance of a row to its nearest others."""
    distances = nearest_distances(rows[pick], rows, SPACED_NEIGHBOURS, pick)
    return max(float(np.median(distances.mean(axis=1))), MIN_SPACING * float(np.sqrt(rows.shape[1])))
