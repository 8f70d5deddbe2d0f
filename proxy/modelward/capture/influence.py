"""How much of a training set comes from whom, and caps on that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

MOST_TOLD = 5

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Influence(Struct, frozen=True):
    """identities: how many there are. effective: how many that have equal shares would have as little influence each
    (inverse Simpson index). largest: (identity, rows, share), the largest first."""

    identities: int
    effective: float
    largest: tuple[tuple[str, int, float], ...]


def influence(of: Ints, names: Sequence[str]) -> Influence:
    """of: index in `names` of each row's identity."""
    counts = np.bincount(of, minlength=len(names))
    total = max(int(counts.sum()), 1)
    shares = counts / total
    order = np.argsort(-counts, kind="stable")[:MOST_TOLD]
    there = int((counts > 0).sum())
    effective = 1.0 / float((shares**2).sum()) if there else 0.0
    largest = tuple((names[i], int(counts[i]), float(shares[i])) for i in order if counts[i])
    return Influence(there, effective, largest)


def largest_allowed(counts: Ints, share: float) -> int:
    """The most rows of one identity so that none has more than this share of what is left. Where there are too few
    identities for that, the most that leaves none more than the others' median, and at least one row."""
    counts = counts[counts > 0]
    if not len(counts):
        return 0
    low, high = 0, int(counts.max())
    while low < high:
        most = (low + high + 1) // 2
        if most <= share * np.minimum(counts, most).sum():
            low = most
        else:
            high = most - 1
    return low if low else max(int(np.median(counts)), 1)


def capped(of: Ints, keep: Mask, share: float, random: np.random.Generator) -> Mask:
    """Of the rows that are kept, those that stay: at random where an identity has too many."""
    counts = np.bincount(of[keep], minlength=int(of.max(initial=-1)) + 1)
    most = largest_allowed(counts, share)
    rank = ranks(of, keep, random)
    return keep & (rank < most)


def thinned(cluster: Ints, of: Ints, keep: Mask, most: int, random: np.random.Generator) -> Mask:
    """Of the rows that are kept, at most so many of each cluster: of each identity in turn, so that none crowds others
    out."""
    within = ranks(_pairs(cluster, of), keep, random)
    order = np.lexsort((within, cluster))
    order = order[keep[order]]
    groups = cluster[order]
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]])) if len(groups) else np.zeros(0, int)
    place = np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))
    stays = np.zeros_like(keep)
    stays[order[place < most]] = True
    return stays


def ranks(of: Ints, keep: Mask, random: np.random.Generator) -> Ints:
    """A random order, from 0, of the kept rows of each group; of others a number beyond all."""
    rank = np.full(len(of), np.iinfo(np.int64).max)
    rows = np.flatnonzero(keep)
    order = rows[np.lexsort((random.random(len(rows)), of[rows]))]
    groups = of[order]
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]])) if len(groups) else np.zeros(0, int)
    rank[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))
    return rank


def _pairs(one: Ints, other: Ints) -> Ints:
    return np.unique(np.stack([one, other], axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
