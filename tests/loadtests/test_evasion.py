"""What the load test of evasion makes of outcomes."""

from __future__ import annotations

from collections import Counter

from loadtests import evasion
from loadtests.detection.attackers import ADAPTIVE, Outcome
from loadtests.detection.oracle import FALLBACK, FULL, TOP_CLASS
from loadtests.detection.tables import load
from loadtests.detection.walks import Target
from loadtests.evasion import Guarded

NES, ART = "NES", "ZOO (ART)"
ROW = load("breast-cancer").owned[0]


def outcome(attack: str, after: int | None, identities: int = 1, victim: str = "a-mlp", place: int = 1) -> Outcome:
    how = {FULL: 5, TOP_CLASS: 2, FALLBACK: 9}
    return Outcome(victim, attack, identities, after, sent=16, refused=0, nearest=1.5, how=how, place=place)


def test_bars_ask_for_attacks_that_work_without_a_guard_and_fail_with_it() -> None:
    unguarded = [outcome(attack, 100) for attack in (NES, ADAPTIVE)]
    fails, works = outcome(NES, None), outcome(NES, 7)
    held = evasion.bars(unguarded, Guarded([fails] * 9 + [works], planned=10))
    assert [bar.reached for bar in held] == [True, True, True, True]
    held = evasion.bars([outcome(NES, None), *unguarded], Guarded([fails] * 8 + [works], planned=9, restricted=1))
    assert {bar.name for bar in held if not bar.reached} == {
        "NES, unguarded",
        "NES, guarded, from 1",
        "honest tenants restricted",
    }


def test_an_attack_that_knows_the_guard_may_succeed_more_often_and_those_for_images_need_not_without_one() -> None:
    guarded = [outcome(ADAPTIVE, 7, 10)] + [outcome(ADAPTIVE, None, 10)] * 3
    held = evasion.bars([outcome(ADAPTIVE, 5), outcome(ART, None)], Guarded(guarded, planned=4))
    assert all(bar.reached for bar in held)
    assert [bar.name for bar in held if ART in bar.name] == []


def test_every_attack_is_made_once_on_every_row_from_every_number_of_identities() -> None:
    rows = [Target(ROW, 0, ROW[None], 1.0)] * 3
    dealt = evasion._dealt(rows, [NES, ART], copies=4)
    made = Counter((attack, identities, seed) for lane in dealt for attack, identities, seed, _ in lane)
    assert len(made) == 2 * 3 * len(evasion.IDENTITIES) and set(made.values()) == {1}
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_the_report_has_a_row_for_each_attack_and_shows_what_was_not_tried() -> None:
    guard = Guarded([outcome(NES, None, 10, place=0)], cut=2, planned=7)
    report = evasion.report([outcome(NES, 100), outcome(NES, None, victim="b-mlp")], guard)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if "NES" in line]
    assert lines == [["NES", "100", "0", "50", "100"], ["NES", "1", "0", "-", "0", "0", "7"]]
    assert "10 identities" in report and "100 identities" not in report
    assert "Of 7 guarded attacks 1 ended; 2 were under way when the time was over, and 4 had not begun." in report
