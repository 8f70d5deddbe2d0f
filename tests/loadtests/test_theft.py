"""What the load test of theft makes of answers."""

from __future__ import annotations

import pytest

from loadtests import theft
from loadtests.detection import victims
from loadtests.detection.oracle import FALLBACK, FULL, REFUSED, ROUNDED, Answer
from loadtests.detection.victims import Victim
from loadtests.theft import Haul


@pytest.fixture(scope="module")
def victim() -> Victim:
    return victims.victim("breast-cancer-logistic")


def haul(thief: str, asked: int = 2_000, guarded: bool = True, **first: int) -> Haul:
    named = {{"fallback": FALLBACK, "refused": REFUSED}.get(step, step): at for step, at in first.items()}
    return Haul("a-mlp", thief, guarded, asked, asked, 0.5, {100: 0.75}, named)


def test_a_copy_of_answers_is_better_than_one_of_fallbacks_which_is_the_majority(victim: Victim) -> None:
    rows = victim.table.owned[:100]
    told = [Answer(FULL, scores) for scores in victim.scores(rows)]
    found = theft.judge(victim, "natural", rows, told, [50, 100])
    assert found.agreement[100] > 0.9 and found.first == {} and found.stopped == 101
    nothing = [Answer(FALLBACK, victim.fallback)] * 100
    found = theft.judge(victim, "natural", rows, nothing, [50, 100])
    assert found.agreement == {50: found.majority, 100: found.majority}
    assert found.answered == 0 and found.first == {FALLBACK: 1}


def test_the_first_answer_of_each_kind_is_told(victim: Victim) -> None:
    rows = victim.table.owned[:6]
    scores = victim.scores(rows)
    hows = [FULL, ROUNDED, FULL, ROUNDED, FALLBACK, REFUSED]
    answers = [Answer(how, None if how == REFUSED else row) for how, row in zip(hows, scores, strict=True)]
    found = theft.judge(victim, "natural", rows, answers, [6], guarded=True, tagged=3)
    assert found.first == {ROUNDED: 2, FALLBACK: 5, REFUSED: 6, "tag": 3}
    assert found.stopped == 5 and found.answered == 4


def test_the_worst_thief_of_each_kind_decides() -> None:
    caught = [haul("uniform", fallback=20), haul("marginals", refused=90), haul("JbDA", fallback=900)]
    assert [bar.reached for bar in theft.bars(caught, 0)] == [True] * 4
    free = [*caught, haul("knockoff", asked=100), haul("JbDA"), haul("interpolation", asked=9_000)]
    assert [bar.reached for bar in theft.bars(free, 1)] == [False] * 4
    assert [bar.reached for bar in theft.bars([haul("uniform", guarded=False)], 0)] == [True] * 4


def test_the_report_shows_steps_of_guarded_thieves_alone() -> None:
    report = theft.report([haul("JbDA", guarded=False), haul("JbDA", tag=3, refused=7)], [100])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if "JbDA" in line]
    assert rows == [["JbDA", "2,000", "0.750"], ["JbDA", "2,000", "0.750", "3", "-", "-", "-", "7"]]
