"""What a siege's clients wrote down becomes the right figures, and the criteria are judged by them."""

import math
from pathlib import Path

import pytest

from loadtests.siege import figures, plan, report, tenants
from loadtests.siege.figures import Call, Figures, Memory, Span
from loadtests.siege.tenants import Keys

MIB = 2**20


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


def test_nobody_answered_has_no_latency_and_is_not_nought() -> None:
    of = figures.of_phase(Span("quiet", 0.0, 1.0), [], [])
    assert math.isnan(of.p99)
    assert math.isnan(of.success)


def phase(name: str, success: int, p99: float, memory: int) -> Figures:
    return Figures(name, 1000, success, 1.0, p99, 1.0, 0.0, memory * MIB)


def test_the_criteria_are_success_memory_and_the_latency_of_others() -> None:
    phases = [phase(plan.QUIET, 1000, 5.0, 100), phase("flood", 999, 9.0, 150)]
    whole = phase("whole", 999, 8.0, 150)
    judged = [(bar.figure, bar.reached) for bar in report.bars(whole, phases, {"Envoy": 7.0, "HAProxy": 9.0})]
    assert judged == [(pytest.approx(99.9), True), (50.0, True), (8.0, False), (8.0, True)]


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
    plots = report.draw(seconds, [Memory(100.5, 5 * MIB)], spans)
    assert b"<svg" in plots
    page = report.page("Siege", "a < b", plots)
    assert "a &lt; b" in page
    assert "data:image/svg+xml;base64," in page
