"""A world of rows without end, and streams of requests from it: honest ones, those of thieves and attackers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from modelward_native.region.region import Region
from modelward_native.testing.suspicion import Suspicion
from modelward_native.testing.watch import Watch

FEATURES, CLUSTERS, BEGIN, THIEF = 6, 12, 1_000_000, 500_000
Floats = npt.NDArray[np.float32]


class World:
    """A mixture of clusters, a profile of it (cells and p-values), and a model: on which side of a bent surface."""

    def __init__(self, seed: int = 5) -> None:
        self.rng = np.random.default_rng(seed)
        self.means = self.rng.normal(0, 2.0, (CLUSTERS, FEATURES))
        self.shapes = self.rng.normal(0, 0.35, (CLUSTERS, FEATURES, FEATURES))
        self.weights = self.rng.normal(size=(2, FEATURES))
        train = self.rows(6000)
        self.centers = train[:64].copy()
        for _ in range(5):
            near = self.nearest(train)[0]
            self.centers = np.array([train[near == c].mean(0) for c in range(64)], np.float32)
        self.scores = np.sort(self.nearest(self.rows(6000))[1])

    def rows(self, count: int, cluster: npt.NDArray[np.int64] | None = None) -> Floats:
        of = self.rng.integers(0, CLUSTERS, count) if cluster is None else cluster
        noise = np.einsum("ni,nij->nj", self.rng.normal(size=(count, FEATURES)), self.shapes[of])
        return (self.means[of] + noise).astype(np.float32)

    def nearest(self, rows: Floats) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        square = ((rows**2).sum(1)[:, None] - 2 * rows @ self.centers.T) + (self.centers**2).sum(1)
        return square.argmin(1).astype(np.int32), np.sqrt(np.maximum(square.min(1), 0))

    def look(self, rows: Floats) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Cells and p-values."""
        at, score = self.nearest(rows)
        rank = np.searchsorted(self.scores, score)
        return at, np.maximum(1 - rank / len(self.scores), 1e-5)

    def prototypes(self, rows: Floats, at: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The nearest: one for each way in which three features differ from the cell's mean."""
        above = rows[:, :3] > self.centers[at][:, :3]
        return (32 * at + above @ np.array([1, 2, 4])).astype(np.int32)

    def answer(self, rows: Floats) -> tuple[npt.NDArray[np.int32], Floats]:
        """Labels and margins."""
        z = np.tanh(rows @ self.weights[0]) + 0.5 * np.sin(rows @ self.weights[1])
        return (z > 0).astype(np.int32), np.tanh(np.abs(z)).astype(np.float32)

    def send(self, watch: Watch, rows: Floats, who: npt.NDArray[np.uint64], times: npt.NDArray[np.uint32]) -> Outcome:
        at, p = self.look(rows)
        labels, margins = self.answer(rows)
        told = watch.run(rows, at, p, who, labels, margins, times, prototypes=self.prototypes(rows, at))
        return Outcome(who, *told)


@dataclass
class Outcome:
    who: npt.NDArray[np.uint64]
    step: npt.NDArray[np.int8]
    withheld: npt.NDArray[np.uint8]
    first_label: npt.NDArray[np.int32]
    repeated: npt.NDArray[np.uint8]

    def restricted(self) -> set[int]:
        return set(self.who[self.step >= 2].tolist())


def numbers(count: int, first: int, every: int) -> npt.NDArray[np.uint64]:
    return (first + np.arange(count) % every).astype(np.uint64)


def times(count: int, start: float, rate: float = 200) -> npt.NDArray[np.uint32]:
    return (start + 10 * np.arange(count) / rate).astype(np.uint32)


@dataclass
class Armed:
    world: World
    watch: Watch
    now: float

    def at(self, count: int, rate: float = 200) -> npt.NDArray[np.uint32]:
        found = times(count, self.now, rate)
        self.now = float(found[-1]) + 1
        return found


def watch_of(world: World, secret: int = 7) -> Watch:
    return Watch(Suspicion(Region(), 4096), world.centers, secret)


@cache
def armed() -> Armed:
    """Has learnt from 210,000 rows of 200 tenants; shared by tests, which add identities of their own."""
    world = World()
    watch = watch_of(world)
    count = 210_000
    world.send(watch, world.rows(count), numbers(count, 1, 200), times(count, BEGIN))
    assert watch.phase == "armed"
    return Armed(world, watch, BEGIN + count / 20)


def a_stream(world: World, who: npt.NDArray[np.uint64]) -> Floats:
    """New rows, repeats, near ones, far ones; of identity 1 many are far, of identity 2 most are near."""
    rng, rows = world.rng, world.rows(len(who))
    kind = rng.random(len(who))
    kind[(who == 2) & (kind > 0.2)] = 0.3
    for i in np.flatnonzero(kind < 0.55)[1:]:
        back = int(rng.integers(max(0, i - 400), i))
        rows[i] = rows[back] if kind[i] < 0.1 else rows[back] + rng.normal(0, 0.02 if kind[i] < 0.4 else 0.3, FEATURES)
    far = kind > np.where(who == 1, 0.7, 0.97)
    rows[far] *= 3
    return rows


def attack(world: Armed, rows: Floats, first: int) -> tuple[int | None, int]:
    """One identity among nine honest rows for each of its own."""
    count = 10 * len(rows)
    mixed, who = world.world.rows(count), numbers(count, 2000, 180)
    mixed[::10], who[::10] = rows, first
    outcome = world.world.send(world.watch, mixed, who, world.at(count))
    steps, withheld = outcome.step[::10], outcome.withheld[::10]
    assert outcome.restricted() <= {first}
    reached = np.flatnonzero(steps >= 2)
    return (int(reached[0]) + 1 if len(reached) else None), int(((steps < 2) & (withheld == 0)).sum())


def boundary_walk(world: World, count: int) -> Floats:
    """HopSkipJump: halving towards the target, a gradient from steps around a row at the boundary, a jump."""
    rng = world.rng
    real = world.rows(200)
    labels = world.answer(real)[0]
    target, other = real[labels == 0][0], real[labels == 1][0]
    asked: list[Floats] = []

    def flips(rows: Floats) -> npt.NDArray[np.bool_]:
        asked.append(rows.astype(np.float32))
        return np.asarray(world.answer(rows)[0] == 1)

    turn = 0
    while sum(map(len, asked)) < count:
        low, high = 0.0, 1.0
        for _ in range(8):
            middle = (low + high) / 2
            low, high = (low, middle) if flips((target + middle * (other - target))[None])[0] else (middle, high)
        other = target + high * (other - target)
        turn += 1
        around = rng.normal(size=(int(10 * turn**0.5), FEATURES)).astype(np.float32)
        around /= np.linalg.norm(around, axis=1)[:, None]
        distance = float(np.linalg.norm(other - target))
        side = np.where(flips(other + 0.05 * distance * around), 1.0, -1.0)
        jump = (side[:, None] * around).mean(0)
        jump *= distance / turn**0.5 / (np.linalg.norm(jump) + 1e-9)
        while np.linalg.norm(jump) > 1e-3 and not flips((other + jump)[None])[0]:
            jump = jump / 2
        other = (other + jump).astype(np.float32)
    return np.concatenate(asked)[:count]
