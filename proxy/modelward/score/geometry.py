"""Where training rows lie: standardisation, a metric, and weighted centroids.

The distance between two standardised rows is the root of their squared Euclidean distance plus their squared
Mahalanobis distance with a shrunk covariance: the first sees how far a value is from what was trained, the second
combinations of values that correlated features never take together. Both are one linear map, so that the kernel
computes a plain distance between mapped rows. The score is the mean distance to the NEIGHBOURS nearest training
rows, each represented by its centroid: a centroid that stands for one row only, often an outlier of the training
data itself, does not make its surroundings normal.

Sources: k-nearest-neighbour outlier score, Ramaswamy et al. (2000) and Angiulli and Pizzuti (2002); Mahalanobis (1936);
shrinking the covariance towards a multiple of the identity, Ledoit and Wolf (2004), here with a fixed weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from modelward.score import kmeans

MAX_CENTROIDS = 256
# Up to here the map costs no more than the distances (features squared against 256 x features multiplications).
MAX_MAPPED_FEATURES = 256
SHRINKAGE = 0.1  # variance added to every direction, as a part of the mean variance
NEIGHBOURS = 3
MAX_COUNT = 1 << 24  # rows behind one centroid that a float holds exactly
# A feature whose deviation is below this part of its mean is constant up to rounding: doubles hold 2e-16.
CONSTANT = 1e-13
# A value farther outside the trained range than this many widths of the range is one no training row could have had.
RANGE_MARGIN = 16.0

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Geometry:
    """A fitted geometry of f features and m centroids.

    mean, scale (f,): a raw value v becomes (v - mean) / scale. low, high (f,): standardised bounds, outside of which a
    value counts as out of range. metric (f, f), or (0, 0) for the identity: a standardised row z becomes z @ metric.
    centers (m, f): standardised centroids. counts (m,): training rows behind each.
    """

    mean: Doubles
    scale: Doubles
    low: Floats
    high: Floats
    metric: Floats
    centers: Floats
    counts: npt.NDArray[np.int64]

    @property
    def mapped_centers(self) -> Floats:
        """Centroids (m, f) where distances are measured."""
        mapped: Floats = self.centers @ self.metric if self.metric.size else self.centers
        return mapped


def fit(rows: Doubles, rng: np.random.Generator) -> Geometry:
    """Geometry of raw, finite training rows (n, f)."""
    mean, scale = standardisation(rows)
    z = ((rows - mean) / scale).astype(np.float32)
    low, high = _range(z.min(axis=0), z.max(axis=0))
    metric = _metric(z)
    if z.shape[1] == 0:  # BYTES inputs only: every row is at the same place
        return Geometry(mean, scale, low, high, metric, np.zeros((1, 0), np.float32), np.array([len(rows)], np.int64))
    mapped = z @ metric if metric.size else z
    centers, counts = kmeans.centroids(mapped, MAX_CENTROIDS, rng)
    # The metric is invertible (its eigenvalues are at least 1), but means of rows are mapped means: undo the map.
    if metric.size:
        centers = np.linalg.solve(metric.T.astype(np.float64), centers.T.astype(np.float64)).T.astype(np.float32)
    return Geometry(mean, scale, low, high, metric, np.ascontiguousarray(centers), counts)


def widened(shape: Geometry, rows: Doubles) -> Geometry:
    """The geometry with bounds that allow for raw rows (n, f) which it was not fitted on."""
    least, most = ((extreme - shape.mean) / shape.scale for extreme in (rows.min(axis=0), rows.max(axis=0)))
    low, high = _range(least.astype(np.float32), most.astype(np.float32))
    return replace(shape, low=low, high=high)


def _range(least: Floats, most: Floats) -> tuple[Floats, Floats]:
    margin = np.float32(RANGE_MARGIN) * np.where(most > least, most - least, np.float32(1.0))
    low: Floats = least - margin
    high: Floats = most + margin
    return low, high


def standardisation(rows: Doubles) -> tuple[Doubles, Doubles]:
    """Mean and scale (f,) of rows (n, f). The scale is the standard deviation; a constant feature's is the size of
    its value, or 1 for zero, so that a change is measured against the value itself."""
    mean = rows.mean(axis=0)
    deviation = rows.std(axis=0)
    size = np.abs(mean)
    constant = deviation <= CONSTANT * size
    return mean, np.where(constant, np.where(size > 0.0, size, 1.0), deviation)


def _metric(z: Floats) -> Floats:
    features = z.shape[1]
    if not 1 < features <= MAX_MAPPED_FEATURES:
        return np.zeros((0, 0), np.float32)
    covariance = np.cov(z, rowvar=False, dtype=np.float64)
    variance, direction = np.linalg.eigh(covariance)
    average = float(variance.mean())
    if average <= 0.0:
        return np.zeros((0, 0), np.float32)
    relative = np.maximum(variance, 0.0) / average
    stretch = np.sqrt(1.0 + 1.0 / (relative + SHRINKAGE))
    metric: Floats = ((direction * stretch) @ direction.T).astype(np.float32)
    return metric
