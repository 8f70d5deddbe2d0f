"""Evasion attacks against a model without a server: each finds what it is there to find."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from loadtests.detection import toolbox, victims, walks
from loadtests.detection.attackers import ATTACKS
from loadtests.detection.oracle import FULL, REFUSED, Answer, Local, Oracle, Over
from loadtests.detection.tables import Floats, distances
from loadtests.detection.targets import BUDGET, FARTHEST, Attack, targets
from loadtests.detection.victims import Victim
from loadtests.detection.walks import Target

SLOW = {"ZOO (ART)"}  # it needs more queries than it has


@pytest.fixture(scope="module")
def victim() -> Victim:
    return victims.victim("breast-cancer-logistic")


@pytest.fixture(scope="module")
def target(victim: Victim) -> Target:
    return targets(victim, 1)[0]


@pytest.mark.skipif(not toolbox.installed(), reason=toolbox.ABSENT)
@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - SLOW))
def test_each_attack_succeeds_without_a_guard(victim: Victim, target: Target, name: str) -> None:
    kind = ATTACKS[name]
    eps = target.eps if kind.norm == 2 else target.largest
    asked = Oracle(Local(victim), victim, target.row, target.label, eps, BUDGET, kind.norm)
    with suppress(Over):
        kind.make(victim)(asked, target, np.random.default_rng(0))
    assert asked.succeeded_after is not None and 1 < asked.succeeded_after <= BUDGET
    assert asked.best_row is not None and victim.labels(asked.best_row)[0] != target.label
    assert np.linalg.norm(asked.best_row - target.row, ord=kind.norm) <= eps


@pytest.mark.skipif(not toolbox.installed(), reason=toolbox.ABSENT)
def test_the_toolbox_can_do_without_answers(victim: Victim, target: Target) -> None:
    class Mute(Local):
        def ask(self, rows: Floats) -> list[Answer]:
            self.sent += len(rows)
            return [Answer(REFUSED)] * len(rows)

    asked = Oracle(Mute(victim), victim, target.row, target.label, target.eps, BUDGET, patience=50)
    with pytest.raises(Over):
        toolbox.zoo(asked, target, np.random.default_rng(0))
    assert asked.how == {REFUSED: asked.wire.sent} and asked.succeeded_after is None


def test_a_target_is_right_and_nearer_to_a_success_than_to_a_real_row(victim: Victim) -> None:
    for target in targets(victim, 2):
        assert victim.labels(target.row)[0] == target.label
        assert set(victim.labels(target.others)) == {1 - target.label}
        assert 0 < target.eps <= FARTHEST * distances(target.row[None], target.others).min() + 1e-6


def test_the_attack_that_knows_the_guard_keeps_its_distance_once_it_is_refused(victim: Victim, target: Target) -> None:
    """A guard that refuses rows that are near to earlier ones."""

    class Guarded(Local):
        gap, refusing = 0.0, True

        def __init__(self, victim: Victim) -> None:
            super().__init__(victim)
            self.rows: list[Floats] = []
            self.refused: list[bool] = []

        def ask(self, rows: Floats) -> list[Answer]:
            answers = super().ask(rows)
            for i, row in enumerate(rows):
                near = bool(self.rows) and distances(row[None], np.array(self.rows)).min() < self.gap
                self.rows.append(row)
                self.refused.append(near)
                answers[i] = Answer(REFUSED) if near else Answer(FULL, answers[i].scores)
            return answers

    def refused(attack: Attack) -> float:
        """Of the later queries."""
        guarded = Guarded(victim)
        guarded.gap = gap
        asked = Oracle(guarded, victim, target.row, target.label, 0.0, 600, patience=10**6)
        with pytest.raises(Over):
            attack(asked, target, np.random.default_rng(0))
        late = guarded.refused[300:]
        return sum(late) / len(late)

    gap = 0.05 * float(np.linalg.norm(target.row - target.others[0]))
    assert refused(walks.Adaptive(victim.table.owned, spacing=4 * gap)) < 0.5 * refused(walks.hop_skip_jump)
