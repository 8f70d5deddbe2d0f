"""What an attacker is told, and the score that is kept of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from loadtests.detection import victims
from loadtests.detection.oracle import FALLBACK, FULL, REFUSED, Answer, Local, Oracle, Over
from loadtests.detection.tables import Floats
from loadtests.detection.victims import Victim


class Scripted:
    """Answers as told; `dead` from when on no identity is left."""

    def __init__(self, how: Callable[[Floats], Answer], dead: int = 10**9) -> None:
        self._how = how
        self._dead = dead
        self.sent = 0

    @property
    def identities_left(self) -> int:
        return int(self.sent < self._dead)

    def ask(self, rows: Floats) -> list[Answer]:
        self.sent += len(rows)
        return [self._how(row) for row in rows]


@pytest.fixture(scope="module")
def victim() -> Victim:
    return victims.victim("breast-cancer-logistic")


def pair(victim: Victim) -> tuple[Floats, Floats]:
    """A row of label 0, and one of label 1."""
    rows, labels = victim.table.owned, victim.labels(victim.table.owned)
    return rows[labels == 0][0], rows[labels == 1][0]


def oracle(victim: Victim, wire: object, *, eps: float = 1e9, budget: int = 100, patience: int = 20) -> Oracle:
    return Oracle(wire, victim, pair(victim)[0], 0, eps, budget, patience=patience)


def test_a_row_of_another_label_within_the_distance_ends_the_attack_and_is_counted(victim: Victim) -> None:
    same, other = pair(victim)
    asked = oracle(victim, Local(victim))
    assert asked.ask(same)[0].tolist() == [0]
    with pytest.raises(Over):
        asked.ask(np.array([same, other, same]))
    assert asked.succeeded_after == 3
    assert asked.best == pytest.approx(np.linalg.norm(other - same))


def test_one_that_is_farther_is_remembered_and_no_success(victim: Victim) -> None:
    _, other = pair(victim)
    asked = oracle(victim, Local(victim), eps=1e-3)
    labels, scores = asked.ask(other)
    assert labels.tolist() == [1] and scores.argmax() == 1
    assert asked.succeeded_after is None and np.array_equal(asked.best_row, other)


def test_a_label_that_the_model_does_not_give_is_no_success(victim: Victim) -> None:
    lie = Scripted(lambda _: Answer(FULL, np.array([0.0, 1.0])))
    asked = oracle(victim, lie)
    assert asked.ask(pair(victim)[0])[0].tolist() == [1]
    assert asked.succeeded_after is None


@pytest.mark.parametrize("answer", [Answer(FALLBACK, np.array([0.0, 1.0])), Answer(REFUSED)])
def test_what_the_model_does_not_answer_itself_tells_nothing_and_patience_ends(victim: Victim, answer: Answer) -> None:
    asked = oracle(victim, Scripted(lambda _: answer))
    labels, scores = asked.ask(pair(victim)[1])
    assert labels.tolist() == [-1] and np.isnan(scores).all() and asked.succeeded_after is None
    with pytest.raises(Over):
        asked.ask(np.tile(pair(victim)[1], (30, 1)))
    assert asked.how == {answer.how: 31}


def test_the_budget_is_what_was_sent(victim: Victim) -> None:
    asked = oracle(victim, Local(victim), eps=0.0)
    with pytest.raises(Over):
        asked.ask(np.tile(pair(victim)[0], (101, 1)))
    assert asked.wire.sent == 100


def test_an_attack_without_an_identity_is_over(victim: Victim) -> None:
    asked = oracle(victim, Scripted(lambda _: Answer(FULL, np.array([1.0, 0.0])), dead=5))
    with pytest.raises(Over):
        for _ in range(10):
            asked.ask(pair(victim)[0])
    assert asked.wire.sent == 5
