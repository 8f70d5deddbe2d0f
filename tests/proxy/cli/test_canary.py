"""`modelward canary record` writes what `check` and `serve` hold a model to."""

import json
from pathlib import Path

import numpy as np
import pytest

from modelward.cli.app import main
from tests import models


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.repository(tmp_path / "models", {"fraud": models.mlp(features=3)})
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(200, 3))
    np.savez("rows.npz", input=rows)
    np.savez("narrow.npz", input=rows[:, :2])
    np.savetxt("rows.csv", rows, delimiter=",")
    return tmp_path


def test_a_recorded_canary_passes_and_stops_another_model(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Path("models/fraud/1/model.onnx")
    assert main(["canary", "record", str(model), "--data", "rows.npz", "--rows", "5", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"] == "models/fraud/1/canary.npz"
    assert [(tensor["kind"], tensor["name"], tensor["shape"]) for tensor in facts["tensors"]] == [
        ("input", "input", [5, 3]),
        ("output", "label", [5]),
        ("output", "probabilities", [5, 2]),
    ]
    assert [tensor["tolerance"] for tensor in facts["tensors"]] == ["", 0.0, 0.001]
    assert main(["check", "models"]) == 0
    model.write_bytes(models.mlp(features=3, seed=9))
    capsys.readouterr()
    assert main(["check", "models"]) == 1
    assert "model fraud version 1 fails its canary and is not loaded" in capsys.readouterr().err


def test_a_table_is_shown_and_csv_is_read(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["canary", "record", "models/fraud/1/model.onnx", "--data", "rows.csv", "--tolerance", "0.01"]
    assert main([*command, "--out", "other.npz"]) == 0
    shown = capsys.readouterr().out
    for part in ("other.npz", "probabilities", "[16, 2]", "0.01"):
        assert part in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.onnx", "--data", "rows.npz"], "No such file"),
        (["models/fraud/1/model.onnx", "--data", "narrow.npz"], "rows"),
        (["models/fraud/1/model.onnx", "--data", "rows.npz", "--out", "nowhere/canary.npz"], "No such file"),
    ],
)
def test_what_cannot_be_recorded_is_told(
    workshop: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["canary", "record", *arguments]) == 1
    problem = capsys.readouterr().err
    assert "no canary can be recorded" in problem
    assert told in problem


@pytest.mark.parametrize(("deadly", "told"), [(True, "it was killed by SIGFPE"), (False, "it took longer than 1 s")])
def test_a_model_that_does_not_survive_it_is_told(
    workshop: Path, capsys: pytest.CaptureFixture[str], deadly: bool, told: str
) -> None:
    smallest, one = np.full((2, 3), np.iinfo(np.int64).min), np.ones((2, 4), np.float32)
    Path("m.onnx").write_bytes(models.dividing() if deadly else models.loop_of_steps())
    np.savez("deadly.npz", **({"a": smallest, "b": -one[:, :3]} if deadly else {"x": one, "steps": 2**60 * one[:, :1]}))
    assert main(["canary", "record", "m.onnx", "--data", "deadly.npz", "--timeout", "30s" if deadly else "1s"]) == 1
    problem = capsys.readouterr().err
    assert "the model does not survive its canary" in problem
    assert told in problem
    assert not Path("m.canary.npz").exists()


@pytest.mark.parametrize(("option", "value"), [("--rows", "0"), ("--rows", "x"), ("--tolerance", "-1")])
def test_wrong_numbers_are_wrong_usage(workshop: Path, option: str, value: str) -> None:
    assert main(["canary", "record", "m.onnx", "--data", "rows.npz", option, value]) == 2
