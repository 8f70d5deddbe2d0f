"""Detectors of drift that are measured part by part."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from loadtests.detection import drift_parts
from loadtests.detection.drift_parts import STATED, UNCHANGED, Task, measure
from loadtests.detection.drift_peers import Remembered
from loadtests.detection.shifts import KINDS

TABLE = "29_Pima"


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """Of a table that is quick to measure."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / f"{TABLE}.npz", X=rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)), y=np.zeros(500))
    monkeypatch.setattr(drift_parts, "STORE", tmp_path)
    monkeypatch.setattr(drift_parts, "LONGEST", 64)
    monkeypatch.setattr(drift_parts, "QUIET_ROWS", 64)
    return Task(TABLE, STATED, tmp_path)


def test_each_change_has_a_delay_and_large_ones_are_told(task: Task) -> None:
    part = measure(task)
    assert len(part.delays) == sum(map(len, KINDS.values()))
    assert part.alarms == 0
    moved = list(KINDS).index("mean") * 3 + 2
    assert 0 < part.delays[moved] <= 64


def test_what_was_measured_is_not_measured_again(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure(task)
    monkeypatch.setattr(drift_parts, "ours", lambda *_: pytest.fail("measured again"))
    assert measure(task) == first


def test_other_rows_are_measured_again(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(task)
    rng = np.random.default_rng(1)
    np.savez(task.folder / f"{TABLE}.npz", X=rng.normal(size=(500, 3)), y=np.zeros(500))
    monkeypatch.setattr(drift_parts, "ours", lambda *_: (7, [1] * 18))
    assert measure(task).alarms == 7


def test_rows_without_a_change_are_counted(task: Task) -> None:
    part = measure(Task(TABLE, UNCHANGED, task.folder, 1_000))
    assert (part.rows, part.alarms, part.delays) == (1_000, 0, [])


def test_a_test_that_is_remembered_answers_as_it_did() -> None:
    rng = np.random.default_rng(0)
    remembered = Remembered(stats.ks_2samp)
    for _ in range(50):
        ours, theirs = rng.integers(0, 9, 30).tolist(), rng.normal(4, 3, 30).round().tolist()
        assert remembered.ks_2samp(ours, theirs, method="auto") == tuple(stats.ks_2samp(ours, theirs, method="auto"))
    assert len(remembered.known) < 50
