"""An index over training rows that costs the same for every query: cells, and prototypes in each.

A query measures its distance to the mean of every cell, and then to the prototypes of the few nearest cells: 256
distances, as to one list of 256 centroids, but to the nearest of up to 4,096 prototypes. Up to about 2,500 training
rows all are prototypes themselves.

Source: inverted lists, Jegou, Douze and Schmid, "Product quantization for nearest neighbor search" (2011), section IV.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from modelward.score.kmeans import centroids, nearest
from modelward_native.score.score import MAX_CELLS, MAX_PROTOTYPES

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

# Values of all prototypes, with room for MAX_PROTOTYPES in each cell: 64 MiB. Rows of more than 4,096 dimensions have
# fewer cells.
MAX_VALUES = 1 << 24
FIRST_PART = 0.75  # of the cells are there before the fullest are divided


class Cells(Struct, frozen=True):
    """c cells and p prototypes in d dimensions.

    means (c, d): of the training rows of a cell. radius (c,): root of the mean squared distance of these rows from it.
    first (c + 1,): cell i has the prototypes first[i] .. first[i + 1], at least one and at most MAX_PROTOTYPES.
    prototypes (p, d); counts (p,): training rows behind each.
    """

    means: Floats
    radius: Floats
    first: Counts
    prototypes: Floats
    counts: Counts


def most(dimensions: int) -> int:
    """Cells of a space of so many dimensions, at most."""
    return max(1, min(MAX_CELLS, MAX_VALUES // (MAX_PROTOTYPES * max(1, dimensions))))


def fit(rows: Floats, limit: int, rng: np.random.Generator) -> Cells:
    """At most `limit` cells of training rows (n, d)."""
    means: list[Floats] = []
    radius: list[float] = []
    summaries: list[tuple[Floats, Counts]] = []
    for members in _divide(rows, limit, rng):
        mean = members.mean(axis=0, dtype=np.float64)
        means.append(mean.astype(np.float32))
        radius.append(float(np.sqrt(np.mean(np.sum((members - mean) ** 2, axis=1)))))
        summaries.append(centroids(members, MAX_PROTOTYPES, rng))
    return Cells(
        np.array(means, np.float32).reshape(len(means), rows.shape[1]),
        np.array(radius, np.float32),
        np.cumsum([0, *(len(counts) for _, counts in summaries)]),
        np.concatenate([prototypes for prototypes, _ in summaries]),
        np.concatenate([counts for _, counts in summaries]),
    )


def _divide(rows: Floats, limit: int, rng: np.random.Generator) -> list[Floats]:
    """The rows of each cell: by k-means, then the fullest is halved until all fit into MAX_PROTOTYPES, or there are
    `limit` cells."""
    wanted = min(-(-len(rows) // MAX_PROTOTYPES), max(1, int(FIRST_PART * limit)))
    cells = _by_nearest(rows, centroids(rows, wanted, rng)[0])
    distinct = [_distinct(cell) for cell in cells]
    while len(cells) < limit and max(distinct) > MAX_PROTOTYPES:
        fullest = int(np.argmax(distinct))
        halves = _by_nearest(cells[fullest], centroids(cells[fullest], 2, rng)[0])
        if len(halves) < 2:  # rows that rounding holds together
            distinct[fullest] = 0
            continue
        cells[fullest : fullest + 1] = halves
        distinct[fullest : fullest + 1] = [_distinct(half) for half in halves]
    return cells


def _by_nearest(rows: Floats, centers: Floats) -> list[Floats]:
    labels = nearest(rows, centers)
    ordered = rows[np.argsort(labels, kind="stable")]
    edges = np.cumsum([0, *np.bincount(labels, minlength=len(centers))])
    return [ordered[a:b] for a, b in pairwise(edges.tolist()) if b > a]


def _distinct(rows: Floats) -> int:
    return len(rows) if len(rows) <= MAX_PROTOTYPES else len(np.unique(rows, axis=0))
