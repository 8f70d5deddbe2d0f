"""Honest tenants: five kinds of traffic out of one pool of rows, without end.

A pool has hundreds or thousands of rows and a tenant sends ten thousand, so most rows are made from the pool: a mix of
a row and three of its neighbours of the same class, and a step along the difference of two others. Features with few
values are picked, not mixed. Where all have few, as pixels do, they are mixed and take the nearest value that occurs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from loadtests.detection.tables import Floats, Labels, Table, distances, spacing

IID, CLUSTERED, BURSTY, REPEATING, DRIFTING = KINDS = ("iid", "clustered", "bursty", "repeating", "drifting")
NEIGHBOURS = 8
STEP = 0.35
REAL = 0.3  # share of the rows that are the pool's own, so that there are exact repeats
FEW_VALUES, FEW_SHARE = 20, 0.02
HOMES, AT_HOME = 8, 0.8  # a clustered tenant has 80 % of its rows from one cluster of 8 ...
HOME_SHARE = 0.02  # ... that holds so many of all rows: k-means makes clusters of a handful of outliers too
PLACES, SHORTEST_BURST, LONGEST_BURST = 64, 30, 400  # a bursty one has bursts from one cluster of 64 each
OWN_ROWS, NEW = 60, 0.1  # a repeating one has 60 rows, and one in ten is new
DRIFTING_FEATURES = 0.25

Indices = npt.NDArray[np.int64]


class Fresh:
    """Rows like those of a pool."""

    def __init__(self, rows: Floats, labels: Labels, seed: int) -> None:
        self._rows = rows
        self._random = np.random.default_rng(seed)
        bound = max(FEW_VALUES, FEW_SHARE * len(rows))
        self._picked = np.array([len(np.unique(column)) <= bound for column in rows.T])
        self._values = [np.unique(column) for column in rows.T] if self._picked.all() else []
        self._neighbours = np.zeros((len(rows), NEIGHBOURS), np.int64)
        for label in np.unique(labels):
            self._find_neighbours(np.flatnonzero(labels == label))

    def _find_neighbours(self, members: Indices) -> None:
        count = min(NEIGHBOURS, len(members) - 1)
        if count < 1:
            self._neighbours[members] = members[:, None]
            return
        for begin in range(0, len(members), 1000):
            some = members[begin : begin + 1000]
            gaps = distances(self._rows[some], self._rows[members])
            gaps[np.arange(len(some)), begin + np.arange(len(some))] = np.inf
            nearest = members[np.argpartition(gaps, count - 1, axis=1)[:, :count]]
            self._neighbours[some] = nearest[:, np.arange(NEIGHBOURS) % count]

    def like(self, base: Indices) -> Floats:
        """A new row for each row of the pool that `base` names."""
        count, random = len(base), self._random
        order = random.permuted(np.tile(np.arange(NEIGHBOURS), (count, 1)), axis=1)[:, :5]
        others = self._neighbours[base][np.arange(count)[:, None], order]
        mixed = np.column_stack([base, others[:, :3]])
        weights = random.dirichlet(np.ones(4), count)
        rows = np.einsum("nk,nkd->nd", weights, self._rows[mixed])
        rows += STEP * random.standard_normal((count, 1)) * (self._rows[others[:, 3]] - self._rows[others[:, 4]])
        if self._values:
            return np.column_stack(
                [_nearest(values, column) for values, column in zip(self._values, rows.T, strict=True)]
            )
        if self._picked.any():
            one = mixed[np.arange(count), (random.random((count, 1)) < np.cumsum(weights, axis=1)).argmax(axis=1)]
            rows[:, self._picked] = self._rows[one][:, self._picked]
        return np.asarray(rows)


def kind_of(tenant: int) -> str:
    return KINDS[tenant % len(KINDS)]


class Tenants:
    """`count` tenants of the five kinds in turn. drift: how far a drifting one has gone in the end, in distances of a
    row to its nearest other one."""

    def __init__(self, table: Table, count: int, seed: int, drift: float = 1.0) -> None:
        self.kinds: Sequence[str] = [kind_of(i) for i in range(count)]
        self._random = random = np.random.default_rng(seed)
        self._pool = pool = table.pool
        self._fresh = Fresh(pool, table.pool_labels, seed)
        self._homes = _clusters(pool, HOMES, seed, least=math.ceil(HOME_SHARE * len(pool)))
        self._places = _clusters(pool, min(PLACES, len(pool) // 8), seed, least=min(15, len(pool) // 80))
        self._home = random.integers(0, len(self._homes), count)
        self._own: dict[int, Floats] = {}
        directions = random.standard_normal((count, table.features))
        directions *= random.random((count, table.features)) < DRIFTING_FEATURES
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        self._directions = directions / np.maximum(lengths, 1e-9) * drift * spacing(pool)

    def rows(self, tenant: int, count: int, progress: float = 0.0) -> Floats:
        """The next rows of a tenant. progress: the share of its traffic that lies behind it."""
        kind = self.kinds[tenant]
        if kind == REPEATING:
            return self._repeating(tenant, count)
        base = self._base(kind, tenant, count)
        rows = self._fresh.like(base)
        real = self._random.random(count) < REAL
        rows[real] = self._pool[base[real]]
        return rows + progress * self._directions[tenant] if kind == DRIFTING else rows

    def _base(self, kind: str, tenant: int, count: int) -> Indices:
        random = self._random
        anywhere = random.integers(0, len(self._pool), count)
        if kind == CLUSTERED:
            home = self._homes[self._home[tenant]]
            return np.where(random.random(count) < AT_HOME, random.choice(home, count), anywhere)
        if kind == BURSTY:
            bursts: list[Indices] = []
            while sum(map(len, bursts)) < count:
                place = self._places[random.integers(len(self._places))]
                bursts.append(random.choice(place, int(random.integers(SHORTEST_BURST, LONGEST_BURST))))
            return np.concatenate(bursts)[:count]
        return anywhere

    def _repeating(self, tenant: int, count: int) -> Floats:
        random = self._random
        if tenant not in self._own:
            self._own[tenant] = self._fresh.like(random.integers(0, len(self._pool), OWN_ROWS))
        rows = self._own[tenant][random.integers(0, OWN_ROWS, count)]
        new = np.flatnonzero(random.random(count) < NEW)
        rows[new] = self._fresh.like(random.integers(0, len(self._pool), len(new)))
        return rows


def _nearest(values: Floats, column: Floats) -> Floats:
    """Each number of the column replaced by the nearest of these, which are sorted."""
    return values[np.searchsorted((values[1:] + values[:-1]) / 2, column)]


def _clusters(rows: Floats, count: int, seed: int, least: int) -> list[Indices]:
    """The members of each cluster that has so many."""
    found = KMeans(count, n_init=1, max_iter=20, random_state=seed).fit_predict(rows)
    members = [np.flatnonzero(found == cluster) for cluster in range(count)]
    return [each for each in members if len(each) >= least]
