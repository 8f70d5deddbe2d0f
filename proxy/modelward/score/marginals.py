"""How each feature of the training rows is distributed, as far as a profile has kept its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modelward.score.geometry import Geometry

BARS = 16
DIGITS = 6


class Marginal(NamedTuple):
    """edges: rising, at most BARS - 1. shares: one more; of the training rows with values from one edge, exclusive, to
    the next, inclusive."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]


def marginals(shape: Geometry, features: Sequence[int]) -> list[Marginal]:
    """Of the features with these indices. A profile has its training rows, or means of such as lie close together."""
    weights = shape.cells.counts / shape.cells.counts.sum()
    return [_marginal(_values(shape, i), weights) for i in features]


def _values(shape: Geometry, i: int) -> npt.NDArray[np.float64]:
    """Raw values (prototypes,) of a feature. With two views the first of them is linear in it."""
    z = shape.cells.prototypes[:, i].astype(np.float64)
    if shape.views is not None:
        z = z * float(shape.views.quartile[i]) + float(shape.views.middle[i])
    values: npt.NDArray[np.float64] = z * shape.scale[i] + shape.mean[i]
    return values


def _marginal(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> Marginal:
    distinct, at = np.unique(values, return_inverse=True)
    mass = np.bincount(at, weights)
    if len(distinct) <= BARS:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        at = np.searchsorted(np.cumsum(mass), np.arange(1, BARS) / BARS).clip(0, len(distinct) - 2)
        edges = np.unique((distinct[at] + distinct[at + 1]) / 2)
    shares = np.bincount(np.searchsorted(edges, distinct), mass, minlength=len(edges) + 1).astype(np.float64)
    return Marginal(_rounded(edges), _rounded(shares))


def _rounded(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """To what a description of the profile needs."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in values.tolist())
