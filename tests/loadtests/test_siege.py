"""What a siege's clients wrote down becomes the right figures, and the criteria are judged by them."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from loadtests.siege import __main__, criteria, figures, plan, report, tenants
from loadtests.siege.criteria import Past
from loadtests.siege.figures import MIB, Call, Figures, Memory, Span
from loadtests.siege.tenants import Keys


def test_lines_of_all_clients_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "calls-1").write_text("12.5 HonestTenant 3.0 OK\n14.0 HonestTenant 4.0 UNAVAI")
    (tmp_path / "calls-2").write_text("12.0 Flood 1.0 RESOURCE_EXHAUSTED\n13.0 Flo")
    read = figures.read(tmp_path.glob("calls-*"))
    assert [(c.at, c.user, c.honest) for c in read] == [
        (12.0, "Flood", False),
        (12.5, "HonestTenant", True),
        (14.0, "HonestTenant", True),
    ]


def test_a_phase_counts_the_honest_apart_from_everybody() -> None:
    calls = [Call(10.0 + i / 100, "HonestTenant", float(i), "OK") for i in range(100)]
    calls += [Call(10.5, "HonestTenant", 1.0, "UNAVAILABLE"), Call(10.6, "Flood", 1.0, "OK")]
    calls += [Call(11.5, "Flood", 1.0, "RESOURCE_EXHAUSTED"), Call(12.0, "Flood", 1.0, "OK")]
    memory = [Memory(10.1, 5), Memory(11.0, 7), Memory(12.5, 9)]
    of = figures.of_phase(Span("flood", 10.0, 12.0), calls, memory)
    assert of == Figures("flood", 101, 100, 49.0, 98.0, 101 / 2, 2 / 2, 7)
    assert of.success == pytest.approx(100 / 101)


def test_a_phase_without_answers_has_no_latency_and_is_not_zero() -> None:
    of = figures.of_phase(Span("quiet", 0.0, 1.0), [], [])
    assert math.isnan(of.p99)
    assert math.isnan(of.success)


def phase(name: str, success: int, p99: float, memory: int) -> Figures:
    return Figures(name, 1000, success, 1.0, p99, 1.0, 0.0, memory * MIB)


def past(name: str, *phases: Figures) -> Past:
    return Past(name, phase("whole", 900, 8.5, 50), {f.name: f for f in phases})


def test_every_phase_has_bars_of_success_and_of_the_latency_of_others() -> None:
    phases = [phase(plan.QUIET, 1000, 9.1, 100), phase("flood", 998, 9.0, 150)]
    envoy = past("Envoy", phase(plan.QUIET, 1000, 4.0, 10), phase("flood", 989, 1.0, 10))
    judged = criteria.bars(phase("whole", 999, 8.0, 150), phases, [envoy])
    assert [(bar.name, bar.figure, bar.reached) for bar in judged] == [
        ("memory above what it was when quiet", 50.0, True),
        ("quiet: honest calls that succeeded", 100.0, True),
        ("quiet: p99 of the honest, against Envoy", 9.1, False),
        ("flood: honest calls that succeeded", pytest.approx(99.8), False),  # its p99 is that of few who were answered
        ("whole: honest calls that succeeded", pytest.approx(99.9), True),
        ("whole: p99 of the honest, against Envoy", 8.0, True),
    ]
    assert criteria.verdict(judged)[0] == "bars reached: 4 of 6"
    assert len(criteria.verdict(judged)) == 3


def test_some_phases_alone_are_not_held_against_another_whole() -> None:
    quiet, flood = phase(plan.QUIET, 1000, 5.0, 100), phase("flood", 1000, 5.0, 100)
    judged = criteria.bars(phase("whole", 1000, 5.0, 100), [quiet], [past("Envoy", quiet, flood)])
    assert [bar.name for bar in judged if "Envoy" in bar.name] == ["quiet: p99 of the honest, against Envoy"]


def test_a_phase_without_answers_misses_every_bar() -> None:
    nothing = figures.of_phase(Span(plan.QUIET, 0.0, 1.0), [], [])
    judged = criteria.bars(nothing, [nothing], [past("Envoy", phase(plan.QUIET, 1000, 5.0, 100))])
    assert [bar.reached for bar in judged] == [True, False, False, False, False]


def test_stored_sieges_of_the_others_are_read_and_compared(tmp_path: Path) -> None:
    flood = phase("flood", 999, 9.5, 1)
    data = {"machine": "m", "whole": asdict(flood), "phases": [asdict(flood)]}
    (tmp_path / "siege-envoy.json").write_text(json.dumps(data))
    found = criteria.past({"envoy": "Envoy", "haproxy": "HAProxy"}, tmp_path)
    assert found == [Past("Envoy", flood, {"flood": flood})]
    lines = criteria.comparison(flood, [phase("quiet", 1000, 5.0, 1), flood], found).splitlines()
    assert lines[0].split("|")[1:-1] == [" phase ", " succeeded % ", " Envoy % ", " p99 ms ", " Envoy ms "]
    assert lines[2].replace("|", "").split() == ["quiet", "100.00", "5.0"]  # Envoy's had no such phase
    assert lines[3].replace("|", "").split() == ["flood", "99.90", "99.90", "9.5", "9.5"]


def test_the_stored_sieges_hold_every_phase() -> None:
    found = criteria.past({"envoy": "Envoy", "haproxy": "HAProxy"})
    assert [peer.name for peer in found] == ["Envoy", "HAProxy"]
    assert all(set(peer.phases) == {p.name for p in plan.PHASES} for peer in found)


def test_phases_share_the_time_and_have_attackers_but_for_the_quiet_ones() -> None:
    seconds = [plan.seconds_of(p, plan.SECONDS) for p in plan.PHASES]
    assert sum(seconds) <= 9.5 * 60
    assert [p.name for p in plan.PHASES if not p.attackers] == [plan.QUIET, plan.CALM_AGAIN]


def test_keys_reach_the_processes_that_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Keys(["a", "b"], "c")
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)
    assert tenants.keys() == given


def test_a_line_of_a_text_goes_from_least_to_most() -> None:
    assert report.sparkline([0.0, 4.0, 8.0, math.nan], width=4) == "▁▅█▁"


def test_the_page_holds_its_plots_and_escapes_its_text() -> None:
    spans = [Span(plan.QUIET, 100.0, 102.0)]
    seconds = figures.per_second([Call(100.5, "HonestTenant", 3.0, "OK")], 100.0, 102.0)
    others = [past("Envoy <1>", phase(plan.QUIET, 1000, 5.0, 100))]
    light, dark = (report.draw(seconds, [Memory(100.5, 5 * MIB)], spans, others, dark=dark) for dark in (False, True))
    assert b"<svg" in light
    assert light != dark
    page = report.page("Siege", "a < b", light, dark)
    assert "a &lt; b" in page
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "prefers-color-scheme: dark" in page
    assert "http" not in page


def test_the_last_siege_takes_the_place_of_the_one_before_in_the_readme() -> None:
    readme = f"# Load\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.told(readme, "new") == f"# Load\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    kept = __main__.README.read_text()
    assert kept.count(report.BEGIN) == kept.count(report.END) == 1


def test_every_phase_with_attackers_is_told_in_the_readme() -> None:
    told = __main__.README.read_text()
    assert all(f"| {phase.name} |" in told for phase in plan.PHASES if phase.attackers)
