"""Thieves: what they ask a model in order to copy it.

Each is a generator that yields rows and is sent the labels that came back, -1 where there was no answer. It ends when
it has asked for as many rows as its budget allows, or has no more.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from loadtests.detection.tables import Floats, Labels, Table

Queries = Generator[Floats, Labels, None]

SEEDS = 100  # rows of its own that JbDA begins with
JBDA_STEP = 0.25  # of a standard deviation, in every feature
ACTIVE_SEEDS, CANDIDATES = 50, 2_000
ACTIVE_SHARE = 10  # a round of active learning asks for a tenth of what is known, and for 50 at least


@dataclass(frozen=True)
class Loot:
    """What a thief has at the beginning: rows of the kind that the model knows, and rows of another table."""

    table: Table
    other: Table
    classes: int
    budget: int
    random: np.random.Generator

    def owned(self, count: int) -> Floats:
        """Different rows of its own, as far as there are any."""
        return self.table.owned[self.random.permutation(len(self.table.owned))[:count]]

    def any_owned(self, count: int) -> Floats:
        return self.table.owned[self.random.integers(0, len(self.table.owned), count)]


def uniform(loot: Loot) -> Queries:
    """Anywhere within the range of the training rows."""
    low, high = loot.table.train.min(axis=0), loot.table.train.max(axis=0)
    yield low + (high - low) * loot.random.random((loot.budget, loot.table.features))


def marginals(loot: Loot) -> Queries:
    """Each feature as it occurs, independently of the others."""
    owned, features = loot.table.owned, loot.table.features
    yield np.take_along_axis(owned, loot.random.integers(0, len(owned), (loot.budget, features)), axis=0)


def knockoff(loot: Loot) -> Queries:
    """Rows of another table (Knockoff Nets, Orekondy et al., 2019), its columns drawn to fit."""
    columns = loot.random.integers(0, loot.other.features, loot.table.features)
    rows = loot.other.train[loot.random.integers(0, len(loot.other.train), loot.budget)]
    yield rows[:, columns]


def interpolation(loot: Loot) -> Queries:
    """Between two rows of its own."""
    begin, end = loot.any_owned(loot.budget), loot.any_owned(loot.budget)
    yield begin + loot.random.random((loot.budget, 1)) * (end - begin)


def natural(loot: Loot) -> Queries:
    """All its rows: half of the real data that the model was not trained on."""
    yield loot.owned(loot.budget)


def jbda(loot: Loot) -> Queries:
    """Jacobian-based augmentation (Papernot et al., 2017): steps along the sign of a copy's gradient."""
    rows = loot.owned(min(SEEDS, loot.budget))
    labels = yield rows
    while len(rows) < loot.budget:
        known = labels >= 0
        if not known.any():
            return
        copy = Copy(rows[known], labels[known])
        steps = rows + JBDA_STEP * np.sign(copy.gradient(rows, labels, loot.random))
        new = steps[loot.random.permutation(len(steps))[: loot.budget - len(rows)]]
        answered = yield new
        rows, labels = np.vstack([rows, new]), np.concatenate([labels, answered])


def active(loot: Loot) -> Queries:
    """Active learning: rows between its own that a copy is least sure of."""
    rows = loot.owned(min(ACTIVE_SEEDS, loot.budget))
    labels = yield rows
    while len(rows) < loot.budget:
        known = labels >= 0
        if not known.any():
            return
        begin, end = loot.any_owned(CANDIDATES), loot.any_owned(CANDIDATES)
        candidates = begin + 0.5 * loot.random.random((CANDIDATES, 1)) * (end - begin)
        wanted = min(max(ACTIVE_SEEDS, len(rows) // ACTIVE_SHARE), loot.budget - len(rows))
        new = candidates[np.argsort(Copy(rows[known], labels[known]).margin(candidates))[:wanted]]
        answered = yield new
        rows, labels = np.vstack([rows, new]), np.concatenate([labels, answered])


OFF_DISTRIBUTION = {"uniform": uniform, "marginals": marginals, "knockoff": knockoff}
THIEVES: dict[str, Callable[[Loot], Queries]] = {
    **OFF_DISTRIBUTION,
    "JbDA": jbda,
    "active learning": active,
    "interpolation": interpolation,
    "half of the real data": natural,
}


class Copy:
    """A small network that the thief trains while it steals: it tells which way to go next."""

    def __init__(self, rows: Floats, labels: Labels) -> None:
        self._network: MLPClassifier | None = None
        if len(np.unique(labels)) < 2:
            return  # nothing to learn from one class
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._network = MLPClassifier((32,), max_iter=60, alpha=1e-3, random_state=0).fit(rows, labels)

    def gradient(self, rows: Floats, labels: Labels, random: np.random.Generator) -> Floats:
        """Of the logarithm of the label's probability; a random direction while there is only one class."""
        network = self._network
        if network is None:
            return np.tile(random.standard_normal(rows.shape[1]), (len(rows), 1))
        (first, second), hidden = network.coefs_, np.maximum(rows @ network.coefs_[0] + network.intercepts_[0], 0)
        out = hidden @ second + network.intercepts_[1]
        if out.shape[1] == 1:
            wanted = np.where(labels == network.classes_[-1], 1.0, -1.0)[:, None]
        else:
            scores = np.exp(out - out.max(axis=1, keepdims=True))
            wanted = -scores / scores.sum(axis=1, keepdims=True)
            column = np.searchsorted(network.classes_, labels).clip(0, out.shape[1] - 1)
            wanted[np.arange(len(rows)), column] += 1
        return np.asarray(((wanted @ second.T) * (hidden > 0)) @ first.T)

    def margin(self, rows: Floats) -> Floats:
        """How much surer the copy is of its first class than of its second."""
        if self._network is None:
            return np.zeros(len(rows))
        scores = np.sort(self._network.predict_proba(rows), axis=1)
        return np.asarray(scores[:, -1] - scores[:, -2])
