"""Dimensions of 0: models are tried in a child process where an operator is not known to bear them."""

from pathlib import Path

import pytest

from modelward import child
from modelward.models import trial
from modelward.models.artifact import Artifact
from modelward.models.model_file import load_artifact
from modelward.models.trial import Findings, Trials, find
from tests import models


def artifact(folder: Path, data: bytes) -> Artifact:
    file = folder / "model.onnx"
    file.write_bytes(data)
    return load_artifact(folder, file)


def found(folder: Path, data: bytes) -> Findings:
    read = artifact(folder, data)
    return child.in_child(child.Bounds(60), find, read.data, tuple(spec.symbols for spec in read.inputs))


@pytest.mark.parametrize(
    "data", [models.mlp(), models.add_one(), models.two_inputs(), models.strings(), models.with_past()]
)
def test_models_of_ordinary_operators_need_no_child(tmp_path: Path, data: bytes) -> None:
    assert artifact(tmp_path, data).unproven == ""


def test_a_recurrent_model_is_found_to_die_of_an_empty_sequence(tmp_path: Path) -> None:
    assert artifact(tmp_path, models.gru()).unproven == "GRU"
    findings = found(tmp_path, models.gru())
    assert findings.dies == ""
    assert (1,) not in findings.borne
    assert any("x[1]" in words and "SIGABRT" in words for words in findings.refused)


def test_dimensions_of_one_symbol_are_tried_together(tmp_path: Path) -> None:
    findings = found(tmp_path, models.voice_activity())
    tried = len(findings.borne) + len(findings.refused)
    assert tried == 3, "batch, samples, and both"
    assert (0, 2) not in findings.borne
    assert any("SIGABRT" in words for words in findings.refused)


def test_a_model_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = artifact(tmp_path, models.gru())
    with Trials(tmp_path) as trials:
        assert trials.problems(read) == []
    monkeypatch.setattr(trial, "in_child", None)
    with Trials(tmp_path) as trials:
        assert trials.problems(read) == []


def test_what_cannot_be_kept_is_no_hindrance(tmp_path: Path) -> None:
    read = artifact(tmp_path, models.gru())
    with Trials(tmp_path / "model.onnx") as trials:  # no folder
        assert trials.problems(read) == []


def test_a_model_that_never_returns_is_told_to_bear_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 1.0)
    read = artifact(tmp_path, models.slow_loop(2**62))
    with Trials(tmp_path) as trials:
        assert trials.problems(read) == []
    assert not list((tmp_path / trial.FOLDER).glob("*")), "it may have been the machine's fault"
