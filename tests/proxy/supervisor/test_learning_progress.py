"""What the log tells of learning and of locked cells."""

from __future__ import annotations

import logging

import pytest

from modelward.detect import progress
from modelward.detect.progress import Progress
from modelward.supervisor.learning_progress import LearningProgress
from modelward_native.detect.suspicion import SIGNALS
from modelward_native.detect.watch import PHASES

MEASURING = Progress("fraud", "measuring", 12_300, 32_768, 8192, 7200.0)


def test_phases_and_signals_are_those_of_the_data_plane() -> None:
    assert (progress.PHASES, progress.SIGNALS) == (PHASES, SIGNALS)
    assert [*progress.COUNTING] == [*PHASES]


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (MEASURING, "measuring, 12,300 of 32,768 rows, or 8,192 in 2 h: nothing is evidence yet"),
        (
            Progress("m", "filling", 5, 70_000, 10_000, 60.0),
            "filling, 5 of 70,000 distinct rows, or 10,000 in 1 min: only unlike is evidence yet",
        ),
        (Progress("m", "armed", locked=2), "armed, all signals are evidence, 2 cells of its profile locked"),
        (Progress("m"), "no version with a profile: nothing is evidence"),
        (
            Progress("m", "armed", fault_seconds=580.0, failing=12),
            "armed, all signals are evidence; a common fault of 12 identities is tolerated for 10 min",
        ),
    ],
)
def test_a_phase_is_told_with_what_it_still_needs_and_what_counts_in_it(of: Progress, words: str) -> None:
    assert of.words == words


def test_the_beginning_of_learning_is_told_once_for_each_model(caplog: pytest.LogCaptureFixture) -> None:
    told = LearningProgress()
    with caplog.at_level(logging.INFO, "modelward.detect"):
        for at in (0.0, 2.0):
            told.look([MEASURING, Progress("armed", "armed"), Progress("bare")], {}, at)
    assert caplog.messages == [f"model fraud learns what its callers send: {MEASURING.words}"]


def test_a_common_fault_is_told_once_in_ten_minutes_and_again_when_another_begins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told, fault = LearningProgress(), Progress("fraud", "armed", fault_seconds=600.0, failing=12)
    for at, each in (
        (0.0, fault),
        (2.0, fault),
        (598.0, fault),
        (602.0, fault),
        (604.0, Progress("fraud", "armed")),
        (606.0, fault),
    ):
        told.look([each], {}, at)
    first, again, ended, another = caplog.messages
    assert "model fraud: 12 established identities, at least half of those that ask, send implausible rows" in first
    assert "until 20" in first and "12 established" in again and "12 established" in another
    assert ended == "the fault before callers of model fraud ended: 12 identities had it at once, at most"


def test_a_common_fault_is_told_again_when_twice_as_many_have_it(caplog: pytest.LogCaptureFixture) -> None:
    told = LearningProgress()
    for at, failing in enumerate((12, 23, 24, 30, 20)):
        told.look([Progress("fraud", "armed", fault_seconds=600.0, failing=failing)], {}, at)
    told.look([Progress("fraud", "armed")], {}, 9.0)
    first, again, ended = caplog.messages
    assert "12 established" in first and "24 established" in again and "ended: 30 identities" in ended


def test_answers_that_locked_cells_cost_are_told_once_a_minute_with_all_that_came_since(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = LearningProgress()
    for at, fallback, top in ((0.0, 0, 0), (2.0, 3, 0), (4.0, 10, 1), (30.0, 12, 1), (63.0, 12, 1), (180.0, 12, 1)):
        told.look([], {"fraud": {"fallback": fallback, "top_class": top}}, at)
    first, second = caplog.messages
    assert "model fraud: callers got for where their rows lie, in place of its answer: 3 the fallback (" in first
    assert "9 the fallback, 1 the top class of rows near them (" in second
