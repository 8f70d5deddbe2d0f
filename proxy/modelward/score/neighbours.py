"""Exact distances from some rows to the nearest of many, one matrix product for each block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

CHUNK_VALUES = 1 << 22  # distances, or values of rows, held at once: 16 MiB
SPARE = 4  # candidates beyond those asked for: the product of single-precision numbers may exchange near equals


def nearest_distances(rows: Floats, among: Floats, k: int, own: npt.NDArray[np.intp] | None = None) -> Doubles:
    """Distances (n, k) of `rows` (n, d) to the k nearest of `among` (m, d), the nearest first.

    own (n,): the index in `among` of each row itself, which is left out. The last distance is repeated where `among`
    holds fewer rows than k; it holds at least one other row.
    """
    others = len(among) - (own is not None)
    found, candidates = min(k, others), min(k + SPARE, others)
    out = np.empty((len(rows), k))
    norms = np.einsum("ij,ij->i", among, among)
    step = max(1, CHUNK_VALUES // max(len(among), among.shape[1], 1))
    for at in range(0, len(rows), step):
        part = rows[at : at + step]
        squared = norms - 2.0 * (part @ among.T)  # less the part's own norms, which are the same for all of `among`
        if own is not None:
            squared[np.arange(len(part)), own[at : at + step]] = np.inf
        near = np.argpartition(squared, candidates - 1, axis=1)[:, :candidates]
        exact = np.sqrt([_squared(part, among[near[:, j]]) for j in range(candidates)]).T
        exact.sort(axis=1)
        out[at : at + step, :found] = exact[:, :found]
    out[:, found:] = out[:, found - 1 : found]
    return out


def _squared(rows: Floats, others: Floats) -> Doubles:
    difference = (rows - others).astype(np.float64)
    squared: Doubles = np.einsum("ij,ij->i", difference, difference)
    return squared
