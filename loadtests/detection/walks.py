"""Evasion attacks of our own, in the Euclidean distance, and one of them knows the guard.

Each asks its oracle until that raises Over, or until it knows no further.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loadtests.detection.oracle import Oracle
from loadtests.detection.tables import Floats

Random = np.random.Generator
Directions = Callable[[int], Floats]

PROBES, MOST_PROBES = 30, 500  # of HopSkipJump's first step, and of any
AT_A_TIME = 10  # so that an end is seen soon
TOLERANCE = 0.01  # of a bisection, relative to the distance
PROBE = 0.05  # how far probes lie from the boundary, relative to the distance
NES_SAMPLES, NES_SIGMA = 10, 0.05
LONGEST_STEP, SHORTEST_STEP = 0.2, 0.02  # of NES, relative to the distance that is allowed
ZOO_REACH, ZOO_STEP = 0.1, 0.15  # of the distance that is allowed
SHARES = (0.1, 0.2, 0.5)  # of the features that Square changes at once


@dataclass(frozen=True)
class Target:
    """A row that the model gives its true label. others: the attacker's nearest rows of another label, nearest first.

    eps: the Euclidean distance within which a row of another label is a success. largest: the same of the largest
    difference in any feature, for an attack that goes by that.
    """

    row: Floats
    label: int
    others: Floats
    eps: float
    largest: float = 0.0


def hop_skip_jump(oracle: Oracle, target: Target, random: Random, iterations: int = 60) -> None:
    """Chen, Jordan and Wainwright, 2020, tuned to few queries."""
    walk = Walk(oracle, target, random)
    for _ in range(iterations):
        walk.step(lambda count: random.standard_normal((count, len(target.row))))


class Walk:
    """Along a decision boundary, towards the target. gap: no two queries of a step are meant to be nearer."""

    def __init__(self, oracle: Oracle, target: Target, random: Random, gap: float = 0.0, probes: int = PROBES) -> None:
        self._oracle = oracle
        self._target = target
        self._random = random
        self._probes = probes
        self._steps = 0
        self.gap = gap
        self.row = self._bisect(target.row, target.others[0])

    @property
    def distance(self) -> float:
        """From the row under attack, so far."""
        return float(np.linalg.norm(self.row - self._target.row))

    def step(self, directions: Directions) -> None:
        """Estimates the boundary's direction by probes, and goes that way. Raises Over."""
        self._steps += 1
        distance = self.distance
        upward = self._gradient(directions, distance)
        if upward is None:  # no probe was answered: another place
            noise = self._random.standard_normal(len(self.row)) / np.sqrt(len(self.row))
            self.row = self.row + 0.1 * distance * noise
            return
        size, found = distance / np.sqrt(self._steps), None
        while size > max(distance * 1e-3, self.gap / 2) and found is None:
            labels, _ = self._oracle.ask(self.row + size * upward)
            if labels[0] < 0:
                break
            found = self.row + size * upward if labels[0] != self._target.label else None
            size /= 2
        if found is not None:
            found = self._bisect(self._target.row, found)
            if np.linalg.norm(found - self._target.row) < distance:
                self.row = found

    def _gradient(self, directions: Directions, distance: float) -> Floats | None:
        count = min(int(self._probes * np.sqrt(self._steps)), MOST_PROBES)
        radius = max(self.gap, PROBE * distance, 1e-6)
        ways = directions(count)
        ways = ways / (np.linalg.norm(ways, axis=1, keepdims=True) + 1e-12)
        labels = np.concatenate([
            self._oracle.ask(self.row + radius * ways[at : at + AT_A_TIME])[0] for at in range(0, count, AT_A_TIME)
        ])  # fmt: skip
        told = labels >= 0
        if told.sum() < 2:
            return None
        signs = np.where(labels[told] != self._target.label, 1.0, -1.0)
        if abs(signs.mean()) < 1:
            signs -= signs.mean()
        upward = (signs[:, None] * ways[told]).mean(axis=0)
        return np.asarray(upward / (np.linalg.norm(upward) + 1e-12))

    def _bisect(self, inside: Floats, outside: Floats) -> Floats:
        """The row nearest to the boundary on the line between them, on the other label's side."""
        while True:
            reach = float(np.linalg.norm(outside - self._target.row))
            if np.linalg.norm(outside - inside) <= max(TOLERANCE * reach, self.gap, 1e-6):
                return outside
            middle = (inside + outside) / 2
            labels, _ = self._oracle.ask(middle)
            if labels[0] < 0:
                return outside
            if labels[0] != self._target.label:
                outside = middle
            else:
                inside = middle


def nes(oracle: Oracle, target: Target, random: Random) -> None:
    """Natural evolution strategies (Ilyas et al., 2018) on the difference of scores, within the distance allowed."""
    row, step = target.row.copy(), LONGEST_STEP * target.eps
    while True:
        noise = random.standard_normal((NES_SAMPLES, len(row)))
        reach = NES_SIGMA * target.eps * noise
        losses = _loss(oracle.ask(np.vstack([row + reach, row - reach]))[1], target.label)
        losses = np.where(np.isnan(losses), 0.0, losses)
        slopes = losses[:NES_SAMPLES] - losses[NES_SAMPLES:]
        downward = -(slopes[:, None] * noise).mean(axis=0) if np.abs(slopes).any() else noise[0]
        row = _within(target, row + step * downward / (np.linalg.norm(downward) + 1e-12))
        oracle.ask(row)
        step = max(0.99 * step, SHORTEST_STEP * target.eps)


def zoo(oracle: Oracle, target: Target, random: Random) -> None:
    """Differences along some features at a time (Chen et al., 2017), with momentum, within the distance allowed."""
    row, slope, reach = target.row.copy(), np.zeros(len(target.row)), ZOO_REACH * target.eps
    while True:
        features = random.permutation(len(row))[:AT_A_TIME]
        moved = np.zeros((len(features), len(row)))
        moved[np.arange(len(features)), features] = reach
        losses = _loss(oracle.ask(np.vstack([row + moved, row - moved]))[1], target.label)
        losses = np.where(np.isnan(losses), 0.0, losses)
        slope *= 0.5
        slope[features] = losses[len(features) :] - losses[: len(features)]
        downward = slope if slope.any() else random.standard_normal(len(row))
        row = _within(target, row + ZOO_STEP * target.eps * downward / (np.linalg.norm(downward) + 1e-12))
        oracle.ask(row)


def square(oracle: Oracle, target: Target, random: Random) -> None:
    """Random search on some features at a time (Andriushchenko et al., 2020), for rows that are no images."""
    row, best = target.row, np.inf
    while True:
        changed, count = row.copy(), max(1, int(len(row) * random.choice(SHARES)))
        features = random.permutation(len(row))[:count]
        signs = random.choice([-1.0, 1.0], count)
        changed[features] = target.row[features] + signs * target.eps * random.random()
        gap = np.linalg.norm(changed - target.row)
        changed = target.row + (changed - target.row) * (0.999 * target.eps / max(float(gap), 1e-12))
        loss = _loss(oracle.ask(changed)[1], target.label)[0]
        if loss < best:  # nan is not
            best, row = loss, changed


def _loss(scores: Floats, label: int) -> Floats:
    """How much the label's score is above the others' best: below 0 the row is misclassified."""
    others = scores.copy()
    others[:, label] = -np.inf
    return np.asarray(scores[:, label] - others.max(axis=1))


def _within(target: Target, row: Floats) -> Floats:
    gap = float(np.linalg.norm(row - target.row))
    return target.row + (row - target.row) * min(1.0, 0.999 * target.eps / max(gap, 1e-12))


FIRST_GAP, WIDEST_GAP = 0.1, 0.5  # in distances of a real row to its nearest other one
WIDER, NARROWER = 1.5, 0.8  # after a step in which something was lost, and after one in which nothing was
GAIN = 10.0  # identities that the whole distance is worth


class Adaptive:
    """Knows the guard all but its secrets, and adapts its queries to it (after OARS, Feng et al., 2023).

    No two queries of a step are nearer than a gap. It grows when an identity is lost or an answer does not come, and
    shrinks while all is answered. Probes go in random directions, or along differences of real rows: more often in the
    way that has gained more for what it has lost. owned: real rows. spacing: of those.
    """

    def __init__(self, owned: Floats, spacing: float) -> None:
        self._owned = owned
        self._spacing = spacing

    def __call__(self, oracle: Oracle, target: Target, random: Random) -> None:
        walk = Walk(oracle, target, random, gap=FIRST_GAP * self._spacing, probes=20)
        ways: list[Directions] = [
            lambda count: random.standard_normal((count, len(target.row))),
            lambda count: (
                self._owned[random.integers(0, len(self._owned), count)]
                - self._owned[random.integers(0, len(self._owned), count)]
            ),
        ]
        gained, lost = [1.0, 1.0], [1.0, 1.0]
        while True:
            worth = np.array(gained) / np.array(lost)
            way = int(random.choice(len(ways), p=worth / worth.sum()))
            identities, missed, distance = oracle.wire.identities_left, oracle.missed, walk.distance
            walk.step(ways[way])
            failed = identities - oracle.wire.identities_left + (oracle.missed - missed) / PROBES
            gained[way] += GAIN * max(0.0, 1 - walk.distance / distance)
            lost[way] += failed
            walk.gap = min((WIDER if failed else NARROWER) * walk.gap, WIDEST_GAP * self._spacing)
