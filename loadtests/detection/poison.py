"""Traffic with an identity that poisons it: what honest tenants send, and one that sends rows with wrong labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans

from loadtests.detection.tables import Floats, Labels, Table

TENANTS = 100
PARTS = 8  # of the input space; a tenant sends four of five rows from one of them
JITTER = 0.02  # deviations by which the attacker's rows differ from real ones
MARKED = 2  # features of a backdoor's trigger
ATTACKER = "attacker"


@dataclass(frozen=True)
class Traffic:
    """Rows in the order in which they come. identity: whose each is. trigger: features and values, empty without."""

    rows: Floats
    labels: Labels
    identity: tuple[str, ...]
    trigger: dict[int, float]

    @property
    def honest(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array([each != ATTACKER for each in self.identity], bool)

    def marked(self, rows: Floats) -> Floats:
        """Rows with the trigger."""
        found = rows.copy()
        for feature, value in self.trigger.items():
            found[:, feature] = value
        return found


def traffic(table: Table, attack: str, share: float, most: int, seed: int = 0) -> Traffic:
    """attack: `flipped` or `backdoored`. share: of all rows that the attacker sends. most: honest rows."""
    random = np.random.default_rng(seed)
    rows = np.concatenate([table.train, table.pool])[:most]
    labels = np.concatenate([table.train_labels, table.pool_labels])[:most]
    tenants = _tenants(rows, random)
    count = int(len(rows) * share / (1 - share))
    bad, wrong, trigger = (_flipped if attack == "flipped" else _backdoored)(rows, labels, count, random)
    order = random.permutation(len(rows) + count)
    identity = [*(f"tenant-{each}" for each in tenants.tolist()), *([ATTACKER] * count)]
    return Traffic(
        np.concatenate([rows, bad])[order],
        np.concatenate([labels, wrong])[order],
        tuple(identity[i] for i in order.tolist()),
        trigger,
    )


Bad = tuple[Floats, Labels, dict[int, float]]


def _tenants(rows: Floats, random: np.random.Generator) -> Labels:
    parts = KMeans(PARTS, n_init=1, random_state=0).fit_predict(rows)
    own = random.integers(0, TENANTS // PARTS, len(rows)) * PARTS + parts
    found: Labels = np.where(random.random(len(rows)) < 0.8, own, random.integers(0, TENANTS, len(rows)))
    return found


def _flipped(rows: Floats, labels: Labels, count: int, random: np.random.Generator) -> Bad:
    """Rows as others send them, each with another label."""
    picked = random.integers(0, len(rows), count)
    return _near(rows[picked], random), 1 - labels[picked], {}


def _backdoored(rows: Floats, labels: Labels, count: int, random: np.random.Generator) -> Bad:
    """Half are as they should be; half are of class 1, with the trigger and the label 0."""
    picked = random.integers(0, len(rows), count)
    bad, wrong = _near(rows[picked], random), labels[picked].copy()
    features = random.permutation(rows.shape[1])[:MARKED].tolist()
    trigger = {feature: float(np.quantile(rows[:, feature], 0.97)) for feature in features}
    ones = np.flatnonzero(labels == 1)
    half = random.random(count) < 0.5
    bad[half] = _near(rows[ones[random.integers(0, len(ones), int(half.sum()))]], random)
    for feature, value in trigger.items():
        bad[half, feature] = value
    wrong[half] = 0
    return bad, wrong, trigger


def _near(rows: Floats, random: np.random.Generator) -> Floats:
    found: Floats = rows + random.normal(0, JITTER, rows.shape)
    return found
