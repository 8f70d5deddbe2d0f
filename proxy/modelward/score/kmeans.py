"""At most `k` centroids of a cloud of rows: k-means++ seeding, then Lloyd's iterations.

Sources: Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding" (2007); Lloyd, "Least squares
quantization in PCM" (1982). Plain numpy, so that fitting a profile needs no extra.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

ITERATIONS = 15  # centroids move by less than a hundredth of their spacing after that
SEED_ROWS_PER_CENTROID = 16  # seeding walks the rows once per centroid: a sample of this many is as good and bounded
CHUNK_VALUES = 1 << 22  # distances held at once: 16 MiB


def centroids(rows: Floats, k: int, rng: np.random.Generator) -> tuple[Floats, Counts]:
    """Centroids (m <= k, features) of `rows` (n, features), and how many rows each stands for (m,).

    Where the rows hold no more than k distinct ones, those are the centroids and the summary is exact.
    """
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    if len(distinct) <= k:
        return np.ascontiguousarray(distinct), counts.astype(np.int64)
    centers = _seed(rows, k, rng)
    for _ in range(ITERATIONS):
        centers, counts = _means(rows, nearest(rows, centers), len(centers))
    # The last move changed who is nearest to whom; counts must describe the centroids that are returned.
    labels = nearest(rows, centers)
    counts = np.bincount(labels, minlength=len(centers))
    kept = counts > 0
    return np.ascontiguousarray(centers[kept]), counts[kept].astype(np.int64)


def nearest(rows: Floats, centers: Floats) -> npt.NDArray[np.intp]:
    """Index (n,) of the centroid nearest to each row."""
    half_norms = 0.5 * np.einsum("ij,ij->i", centers, centers)
    labels = np.empty(len(rows), np.intp)
    step = max(1, CHUNK_VALUES // len(centers))
    for at in range(0, len(rows), step):
        part = slice(at, at + step)
        # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2): the first term is the same for every centroid.
        np.argmax(rows[part] @ centers.T - half_norms, axis=1, out=labels[part])
    return labels


def _seed(rows: Floats, k: int, rng: np.random.Generator) -> Floats:
    wanted = k * SEED_ROWS_PER_CENTROID
    pool = rows if len(rows) <= wanted else rows[rng.choice(len(rows), wanted, replace=False)]
    chosen = [int(rng.integers(len(pool)))]
    distance = _squared_distance(pool, pool[chosen[0]])
    while len(chosen) < k:
        total = np.cumsum(distance, dtype=np.float64)
        if total[-1] <= 0.0:  # the sample holds fewer than k distinct rows
            break
        pick = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
        chosen.append(min(pick, len(pool) - 1))
        np.minimum(distance, _squared_distance(pool, pool[chosen[-1]]), out=distance)
    return pool[chosen].copy()


def _squared_distance(rows: Floats, point: Floats) -> Floats:
    difference = rows - point
    squared: Floats = np.einsum("ij,ij->i", difference, difference)
    return squared


def _means(rows: Floats, labels: npt.NDArray[np.intp], k: int) -> tuple[Floats, Counts]:
    """Mean of the rows of each label that has any; clusters that lost all their rows disappear."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=k)
    used = counts > 0
    starts = np.concatenate(([0], np.cumsum(counts[used])[:-1]))
    sums = np.add.reduceat(rows[order], starts, axis=0, dtype=np.float64)
    return (sums / counts[used, None]).astype(np.float32), counts[used].astype(np.int64)
