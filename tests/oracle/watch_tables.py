"""Slow twin of detect/tables.c: what yesterday's counts make of each category of a row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

CELLS, GROUPS, RESOLUTIONS = 128, 16, 5
OF_CELL = 32
PLACES = CELLS * OF_CELL
P_EDGES = (0.7, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001, 1e-4)
NEAR_FLOOR = (
    (1, 0.30, 0.15, 0.08, 0.05, 1, 1, 1, 1),
    (1, 0.5, 0.4, 0.3, 0.25, 0.3, 0.2, 0.12, 0.08),
    (1, 0.25, 0.12, 0.06, 0.03, 0.12, 0.06, 0.03, 0.02),
    (1, 0.12, 0.05, 0.02, 0.01, 0.08, 0.04, 0.015, 0.008),
    (1, 0.08, 0.03, 0.01, 0.004, 0.06, 0.02, 0.008, 0.003),
)
NEAR_BET = (
    (0.10, 0.06, 0.06, 0.08, 0.16, 0.12, 0.12, 0.14, 0.16),
    (0.5, 0.06, 0.06, 0.06, 0.06, 0.06, 0.07, 0.07, 0.06),
)
NEAR_PRIOR = (0.9, 0.05, 0.02, 0.01, 0.005, 0.01, 0.003, 0.001, 0.001)
FLIP_PRIOR = (0.97, 0.015, 0.01, 0.004, 0.001)
P_NOMINAL = np.diff([0.0, *(1 - np.array(P_EDGES)), 1.0])
SURPRISE = (0.2, 0.05, 0.015, 0.004)
SURGE_BET = 0.5


def _joint(empty: float, weights: list[float]) -> list[float]:
    rest = sum(weights[1:])
    return [empty, *(w * (1 - empty) / rest for w in weights[1:])]


def _products(near: tuple[float, ...], margin: tuple[float, ...], flip: tuple[float, ...]) -> list[float]:
    return [a * b * c for a in near for b in margin for c in flip]


_FLOORS = _products((1, 0.30, 0.12, 0.06, 0.04), (1, 0.40, 0.15, 0.07, 0.04), (1, 0.15))
WALK_FLOOR = [1.0, *(min(1.0, max(0.01, 1.5 * w)) for w in _FLOORS[1:])]
WALK_BET = (
    _joint(0.06, _products((0.06, 0.08, 0.16, 0.25, 0.45), (0.08, 0.10, 0.17, 0.25, 0.40), (0.65, 0.35))),
    _joint(0.4, _products((0.25, 0.2, 0.2, 0.2, 0.15), (0.3, 0.2, 0.2, 0.15, 0.15), (0.7, 0.3))),
)
WALK_PRIOR = _joint(0.65, WALK_FLOOR)

Table = npt.NDArray[Any]


def shrunk(counts: Table, group: Table, prior: Any) -> Table:
    """Shares (cells, n): a cell's counts with 50 rows of its group's shares, and these with 200 of the prior."""
    of_group = np.array([counts[group == g].sum(axis=0) for g in range(GROUPS)])
    share = (of_group + 200 * np.array(prior)) / (of_group.sum(axis=1, keepdims=True) + 200)
    both = counts + 50 * share[group]
    return np.asarray(both / both.sum(axis=1, keepdims=True))


def e_value(bet: float, share: float, floor: float, tolerance: float, j: int) -> float:
    return bet if j == 0 else bet / min(1.0, max(floor, tolerance * share))


def sixteenths(e: float) -> int:
    return max(-128, min(127, math.floor(16 * math.log(e))))


def make_s(share: Table) -> Table:
    above = np.maximum(1 - np.cumsum(share, axis=1), 0)
    above[:, -1] = 0
    below = np.concatenate([np.ones((len(share), 1)), np.maximum(above[:, :-1], 1e-9)], axis=1)

    def part(x: Table) -> Table:
        return np.where(x > 0, x * np.log(np.maximum(x, 1e-300)) - x, 0.0)

    return np.minimum(12.0, -(part(below) - part(above)) / np.maximum(below - above, 1e-12))


@dataclass
class Tables:
    """All in sixteenths of a nat, but for surprise and flip_hot."""

    s: Table
    near: Table
    walk: Table
    surprise: Table
    flip_hot: Table
    surge: Table


def make_tables(counts: tuple[Table, ...], group: Table) -> Tables:
    """counts: p, near, walk, flips, p of places."""
    p, near, walk, flips, of_place = counts
    s = np.zeros((PLACES + 1, len(P_NOMINAL)))
    of_cell = shrunk(p[:CELLS].astype(float), group, P_NOMINAL)
    share = of_place + 15 * np.repeat(of_cell, OF_CELL, axis=0)
    s[:PLACES] = make_s(share / share.sum(axis=1, keepdims=True))
    s[PLACES] = min(8.0, 1 - math.log((p[CELLS].sum() + 200 * P_NOMINAL[-1]) / (p.sum() + 200)))
    s = np.floor(16 * s + 0.5)
    e_near = np.zeros((CELLS, RESOLUTIONS, 9, 3), int)
    surprise = np.zeros((CELLS, RESOLUTIONS, 9), int)
    for r in range(RESOLUTIONS):
        share = shrunk(near[r].astype(float), group, NEAR_PRIOR)
        for c in range(CELLS):
            for j in range(9):
                floor = NEAR_FLOOR[r][j]
                for k in (0, 1):
                    e_near[c, r, j, k] = sixteenths(e_value(NEAR_BET[k][j], share[c, j], floor, 3, j))
                half = floor / 2 if floor < 1 else 1
                e_near[c, r, j, 2] = sixteenths(e_value(NEAR_BET[0][j], share[c, j], half, 2, j))
        for j in range(1, 5):
            own = share[:, j + 4 :].sum(axis=1)
            both = share[:, j:5].sum(axis=1) + own
            for k, limit in enumerate(SURPRISE):
                surprise[:, r, j][both < limit] = k + 1
                surprise[:, r, j + 4][own < limit] = k + 1
    e_walk = np.zeros((CELLS, 50, 4), int)
    share = shrunk(walk.astype(float), group, WALK_PRIOR)
    for c in range(CELLS):
        for j in range(50):
            for k in (0, 1):
                e_walk[c, j, k] = sixteenths(e_value(WALK_BET[k][j], share[c, j], WALK_FLOOR[j], 6, j))
                floor = max(0.003, WALK_FLOOR[j] / 2)
                e_walk[c, j, 2 + k] = sixteenths(e_value(WALK_BET[k][j], share[c, j], floor, 2, j))
    counted = flips + 200 * np.array(FLIP_PRIOR)
    hot = np.full((RESOLUTIONS, GROUPS), 5)
    for u in range(4, 0, -1):
        rare = counted[1:, :, u:].sum(axis=2) < 0.01 * (flips[1:].sum(axis=2) + 200)
        hot[1:][rare] = u
    of_all = np.maximum(p[:CELLS].sum(axis=1) / (p[:CELLS].sum() + 1), 1 / 256)
    tolerated = np.minimum(SURGE_BET, 4 * of_all)
    nats = np.column_stack([np.log((1 - SURGE_BET) / (1 - tolerated)), np.log(SURGE_BET / tolerated)])
    return Tables(s, e_near, e_walk, surprise, hot, np.asarray(nats))
