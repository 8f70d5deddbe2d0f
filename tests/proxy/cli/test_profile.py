"""`modelward profile` fits, saves and shows what the anomaly guard compares requests with."""

import json
from pathlib import Path

import numpy as np
import pytest

from modelward.cli.app import main
from modelward.score import Profile
from tests import models


@pytest.fixture
def model(tmp_path: Path) -> Path:
    models.repository(tmp_path, {"fraud": models.mlp(features=3)})
    return tmp_path / "fraud/1/model.onnx"


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(200, 3))


@pytest.fixture
def workshop(model: Path, rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a model, good rows and some that do not fit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sequence.onnx").write_bytes(models.sequence_output())
    np.savez("train.npz", input=rows)
    np.savez("few.npz", input=rows[:3])
    np.savez("narrow.npz", input=rows[:, :2])
    return tmp_path


def test_a_fitted_profile_lies_where_serve_finds_it(
    model: Path, rows: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "train.npz", input=rows)
    assert main(["profile", "fit", str(model), "--data", str(tmp_path / "train.npz")]) == 0
    assert "training rows" in capsys.readouterr().out
    assert main(["check", "--json", str(tmp_path)]) == 0
    (checked,) = json.loads(capsys.readouterr().out)["models"]
    assert checked["profile"] == str(model.with_name("profile.npz"))
    assert checked["guards"]["anomaly"] == "observe"


def test_csv_columns_are_the_flattened_inputs(model: Path, rows: np.ndarray, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "train.csv", rows, delimiter=",", header="a,b,c", comments="", fmt="%.17g")
    np.savez(tmp_path / "train.npz", input=rows)
    for kind in ("csv", "npz"):
        out = str(tmp_path / f"{kind}.profile.npz")
        assert main(["profile", "fit", str(model), "--data", str(tmp_path / f"train.{kind}"), "--out", out]) == 0
    strange = {"input": rows[:5] + 9}
    by_csv, by_npz = (Profile.load(tmp_path / f"{kind}.profile.npz").score(strange) for kind in ("csv", "npz"))
    np.testing.assert_array_equal(by_csv, by_npz)


def test_a_shown_profile_tells_its_rows_inputs_and_thresholds(
    rows: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Profile.fit({"input": rows}).save(tmp_path / "p.npz")
    assert main(["profile", "show", str(tmp_path / "p.npz")]) == 0
    out = capsys.readouterr().out
    assert all(shown in out for shown in ("200", "false positive rate of 0.01", "input"))
    assert main(["profile", "show", "--json", str(tmp_path / "p.npz")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trained_rows"], told["inputs"][0]["name"]) == (200, "input")


def test_strings_are_profiled_as_categories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.onnx").write_bytes(models.strings(columns=2))
    np.savez(tmp_path / "train.npz", text=np.array([["red", "s"], ["blue", "m"]] * 50))
    assert main(["profile", "fit", str(tmp_path / "text.onnx"), "--data", str(tmp_path / "train.npz"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inputs"][0]["categories"] == [2, 2]
    assert (tmp_path / "text.profile.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["fit", "none.onnx", "--data", "train.npz"], "No such file"),
        (["fit", "fraud/1/model.onnx", "--data", "none.npz"], "none.npz cannot be read"),
        (["fit", "fraud/1/model.onnx", "--data", "few.npz"], "too few"),
        (["fit", "fraud/1/model.onnx", "--data", "narrow.npz"], "has shape (200, 2)"),
        (["fit", "fraud/1/model.onnx", "--data", "train.txt"], "training data is .npz, .csv or .parquet"),
        (["fit", "fraud/1/model.onnx", "--data", "train.npz", "--out", "none/p.npz"], "No such file"),
        (["fit", "sequence.onnx", "--data", "train.npz"], "a sequence of tensors"),
        (["show", "none.npz"], "cannot be read"),
        (["show", "train.npz"], "is not a profile"),
    ],
)
def test_what_is_wrong_is_told_and_is_1(
    arguments: list[str], finding: str, workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *arguments]) == 1
    err = capsys.readouterr().err
    assert finding in err
    assert "\n  mend: " in err
    assert "Traceback" not in err
