"""The race measures the right work, notices wrong answers and judges its promises rightly."""

from pathlib import Path

import numpy as np
import pytest

from loadtests.race import report, rounds, spike
from loadtests.race.contestant import Absent, Contestant, Running, WrongAnswer, check, expected_probabilities, request
from loadtests.race.grpc_aio import GRPC_AIO
from loadtests.race.ours import OURS, REFUSING
from loadtests.race.rounds import Lane, Sample
from loadtests.race.spike import SPIKE
from loadtests.race.triton import TRITON
from loadtests.tools import client, h2load, tritonserver
from loadtests.tools.h2load import Shape
from loadtests.tools.process import Process
from loadtests.tools.results import Bar, table

needs_h2load = pytest.mark.skipif(not h2load.installed(), reason=h2load.ABSENT)


def lane(contestant: Contestant, busy: float, alone: float, process: Process) -> Lane:
    samples = {report.BUSY: [Sample(busy, 1.0, 1.0)] * 3, report.ALONE: [Sample(alone, 1.0, 1.0)] * 3}
    return Lane(contestant, Running(process, 1, 1), samples)


def test_the_request_has_the_size_that_the_figures_are_for() -> None:
    assert len(request()) == 156


def test_the_answer_of_the_spike_ends_with_the_probabilities_it_replaces() -> None:
    answer = spike.answer()
    assert answer.endswith(expected_probabilities().tobytes())
    assert np.array_equal(client.output(answer[5:], "probabilities"), expected_probabilities())
    assert int.from_bytes(answer[1:5], "big") == len(answer) - 5


def test_the_spike_is_absent_and_not_an_error_without_its_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELWARD_SHARED", str(tmp_path))
    with pytest.raises(Absent, match="MODELWARD_SHARED"):
        SPIKE.prepare(tmp_path)


def test_triton_is_absent_and_not_an_error_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tritonserver, "SERVER", tmp_path / "tritonserver")
    with pytest.raises(Absent, match="scripts/peers triton"):
        TRITON.prepare(tmp_path)


@needs_h2load
def test_ours_grpc_aio_and_the_refusal_race_and_are_checked() -> None:
    with rounds.lined_up([OURS, REFUSING, GRPC_AIO]) as lanes:
        rounds.run(lanes, {Shape(2, 4): 200, Shape(1, 1): 40}, rounds=2)
        assert [len(lane.samples[Shape(2, 4)]) for lane in lanes] == [2, 2, 2]
        assert all(lane.median(Shape(1, 1)).cpu_us > 0 for lane in lanes)
        assert lanes[0].running.answer_bytes > 0 == lanes[1].running.answer_bytes
        # an answer of another size than the one that was checked is not let through
        lanes[0].running = Running(lanes[0].running.process, lanes[0].running.port, 1)
        with pytest.raises(WrongAnswer, match="bytes of answers"):
            rounds.run(lanes[:1], {Shape(1, 1): 20}, rounds=1)
        with pytest.raises(WrongAnswer, match="status RESOURCE_EXHAUSTED instead of OK"):
            check(OURS, lanes[1].running.port)


def test_bars_compare_the_contestants_that_they_name(idle_process: Process) -> None:
    lanes = [
        lane(OURS, 4.0, 20.0, idle_process),
        lane(REFUSING, 3.0, 9.0, idle_process),
        lane(SPIKE, 3.0, 18.0, idle_process),
        lane(TRITON, 70.0, 200.0, idle_process),
    ]
    bars = report.bars(lanes)
    figures = [(round(bar.figure, 2), bar.reached) for bar in bars]
    assert figures == [(4.0, True), (17.5, True), (1.11, True), (3.0, False)]
    assert str(bars[3]) == "8x16, refused by the peer limit: 3.00 us/request (bar <= 2.5): not reached"


def test_bars_of_absent_contestants_are_left_out(idle_process: Process) -> None:
    bars = report.bars([lane(OURS, 4.0, 20.0, idle_process)])
    assert [bar.name for bar in bars] == ["8x16, every guard on"]


def test_ratios_are_to_the_first_lane_and_spreads_are_of_all_rounds(idle_process: Process) -> None:
    ours, triton = lane(OURS, 4.0, 20.0, idle_process), lane(TRITON, 60.0, 200.0, idle_process)
    triton.samples[report.BUSY] = [Sample(us, 1.0, 1.0) for us in (50.0, 60.0, 90.0)]
    row = report.rows([ours, triton], report.BUSY)[1]
    assert (row["cpu_us"], row["low_us"], row["high_us"], row["ratio"]) == (60.0, 50.0, 90.0, 15.0)


def test_a_bar_met_exactly_is_reached_from_either_side() -> None:
    assert Bar("", 5.0, 5.0, "us").reached
    assert Bar("", 14.0, 14.0, "times", at_most=False).reached
    assert not Bar("", 13.99, 14.0, "times", at_most=False).reached


def test_tables_are_markdown_with_figures_to_the_right() -> None:
    assert table(("what", "n"), [("a", 1), ("longer", 20)]) == (
        "| what   |  n |\n| ------ | -: |\n| a      |  1 |\n| longer | 20 |"
    )
