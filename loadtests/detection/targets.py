"""Rows that evasion attacks start from, and how near a row of another label has to be to count."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from loadtests.detection import toolbox, walks
from loadtests.detection.oracle import Local, Oracle, Over
from loadtests.detection.victims import Victim
from loadtests.detection.walks import Random, Target

BUDGET = 10_000  # queries
SLACK = 1.2  # a success may be so much farther than the nearest row that HopSkipJump finds with all its queries
FARTHEST = 0.5  # of the way to the nearest real row of another label: beyond that the real row would do
STARTS = 5  # rows of another label that an attack may begin with
TRIES = 4  # rows that are looked at for each that is wanted
Attack = Callable[[Oracle, Target, Random], None]


def targets(victim: Victim, count: int, seed: int = 0) -> list[Target]:
    """At most `count` rows of the attackers' that the model gives their true label, three of four of the rarer one
    where there are two."""
    table, random = victim.table, np.random.default_rng(seed)
    labels = victim.labels(table.owned)
    right = random.permutation(np.flatnonzero(labels == table.owned_labels))
    if victim.classes == 2:
        rare = labels[right] == np.bincount(labels, minlength=2).argmin()
        right = random.permutation(np.r_[right[rare][: 3 * count], right[~rare][:count]])
    found: list[Target] = []
    for row in right[: TRIES * count]:
        others = table.owned[labels != labels[row]]
        gaps = np.linalg.norm(others - table.owned[row], axis=1)
        target = Target(table.owned[row], int(labels[row]), others[gaps.argsort()[:STARTS]], 0.0)
        eps = SLACK * _nearest(victim, target, walks.hop_skip_jump, 2)
        if eps <= FARTHEST * gaps.min():
            largest = SLACK * _nearest(victim, target, toolbox.reach, np.inf) if toolbox.installed() else 0.0
            found.append(replace(target, eps=eps, largest=largest))
        if len(found) == count:
            break
    return found


def _nearest(victim: Victim, target: Target, attack: Attack, norm: float) -> float:
    """How near the attack gets with all its queries, without a server."""
    oracle = Oracle(Local(victim), victim, target.row, target.label, 0.0, BUDGET, norm)
    with suppress(Over):
        attack(oracle, target, np.random.default_rng(0))
    return oracle.best
