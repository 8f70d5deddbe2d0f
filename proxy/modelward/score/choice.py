"""Which distances describe a table best: chosen by telling its training rows from permuted ones.

Where values of a training row are exchanged with other rows' values, every value is ordinary, and the combination is
not. The space and the weighting whose score tells such rows best from training rows (themselves left out) are taken. No
anomaly needs to be known, and none is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from modelward.score import views
from modelward.score.neighbours import nearest_distances
from modelward_native.score.score import NEIGHBOURS

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

PLAIN, TWO_VIEWS = "plain", "two views"
# Weights of the distances to the nearest training rows, the nearest first.
WEIGHTS = {
    "nearest": (1.0,),
    "five": tuple(1.0 / j for j in range(1, 6)),  # the nearer, the more it counts
    "ten": (1.0,) * NEIGHBOURS,
}
QUERIES = 1000  # training rows that the choice is made with, and permuted ones
# Values of the permuted rows, at most: rows of very many features are fewer.
MAX_VALUES = 1 << 24
MIN_QUERIES = 100


class Choice(Struct, frozen=True):
    """space: PLAIN is the standardised features; TWO_VIEWS is modelward.score.views. weighting: a key of WEIGHTS."""

    space: str
    weighting: str


# With one feature, permuted rows are copies of training rows: there is nothing to choose by.
UNCHOSEN = Choice(PLAIN, "five")


def choose(z: Floats, rng: np.random.Generator) -> Choice:
    """The choice for standardised training rows (n, f). Of equals the simpler is taken."""
    if z.shape[1] < 2:
        return UNCHOSEN
    found = rate(z, rng)
    return max(found, key=lambda choice: found[choice])


def rate(z: Floats, rng: np.random.Generator) -> dict[Choice, float]:
    """How well each choice tells training rows from permuted ones, as AUROC, the simplest choice first."""
    queries = min(QUERIES, max(MIN_QUERIES, MAX_VALUES // z.shape[1]))
    pick, wrong = rng.permutation(len(z))[:queries], _permuted(z, queries, rng)
    distances = {PLAIN: _both(z, pick, wrong)}
    if z.shape[1] <= views.MAX_FEATURES:
        fitted = views.fit(z, rng)
        distances[TWO_VIEWS] = _both(fitted.map(z), pick, fitted.map(wrong))
    rated = {}
    for space, weighting in product(distances, WEIGHTS):
        low, high = (weighted(found, WEIGHTS[weighting]) for found in distances[space])
        rated[Choice(space, weighting)] = _auroc(low, high)
    return rated


def weighted(distances: Doubles, weights: Sequence[float]) -> Doubles:
    """Weighted sum (n,) of the first distances (n, k)."""
    sums: Doubles = distances[:, : len(weights)] @ np.array(weights)
    return sums


def _both(rows: Floats, pick: npt.NDArray[np.intp], wrong: Floats) -> tuple[Doubles, Doubles]:
    return nearest_distances(rows[pick], rows, NEIGHBOURS, pick), nearest_distances(wrong, rows, NEIGHBOURS)


def _permuted(z: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Random rows, in which every value is with probability 1/2 that of another random row."""
    rows, features = z.shape
    base = z[rng.integers(rows, size=count)]
    other = z[rng.integers(rows, size=(count, features)), np.arange(features)]
    return np.where(rng.random((count, features)) < 0.5, other, base)


def _auroc(low: Doubles, high: Doubles) -> float:
    """The probability that one of `high` is above one of `low`, where equals count half."""
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, side="left") + np.searchsorted(ordered, high, side="right")
    return float(below.sum()) / (2.0 * len(low) * len(high))
