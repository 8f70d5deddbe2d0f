"""`modelward model scan` prints what it finds, as a table, JSON or SARIF, and fails where it is bad enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelward.cli.app import main
from modelward.scanning.rules import RULES
from tests import models
from tests.proxy.scanning.bad_models import PICKLE, with_metadata


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.repository(
        tmp_path / "models",
        {
            "good": models.add_one(),
            "foreign": models.custom_domain(),
            "odd": with_metadata("see https://example.com/x"),
        },
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_good_model_has_no_findings(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "scan", "models/good/1"]) == 0
    assert "models/good/1: nothing found in 1 file" in capsys.readouterr().out


def test_a_repository_is_scanned_and_the_worst_comes_first(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "scan", "models"]) == 1
    shown = capsys.readouterr().out
    assert "models: 1 high, 1 low in 3 files" in shown
    assert shown.index("operator-foreign") < shown.index("embedded-address")
    for part in ("foreign/1/model.onnx", "Teleport", "why it matters, and how to mend it"):
        assert part in shown


@pytest.mark.parametrize(
    ("bound", "code"), [("critical", 0), ("high", 1), ("medium", 1), ("low", 1), ("info", 1), ("never", 0)]
)
def test_what_fails_is_chosen(workshop: Path, bound: str, code: int) -> None:
    assert main(["model", "scan", "models/foreign", "--fail-on", bound]) == code


def test_findings_below_the_bound_do_not_fail(workshop: Path) -> None:
    assert main(["model", "scan", "models/odd/1/model.onnx"]) == 0
    assert main(["model", "scan", "models/odd/1/model.onnx", "--fail-on", "low"]) == 1


def test_json_has_all_that_the_table_has(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "scan", "models", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["path"], found["files"], found["failed"]) == ("models", 3, True)
    assert found["counts"] == {"critical": 0, "high": 1, "medium": 0, "low": 1, "info": 0}
    first = found["findings"][0]
    assert (first["rule"], first["severity"]) == ("operator-foreign", "high")
    assert first["file"] == "models/foreign/1/model.onnx"
    assert first["why"] == RULES["operator-foreign"].why
    assert first["how"] == RULES["operator-foreign"].how


def test_names_from_a_model_write_nothing_else_to_the_terminal(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("evil\x1b[2J.onnx").write_bytes(models.custom_domain("evil\x1b[2J"))
    assert main(["model", "scan", "evil\x1b[2J.onnx"]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_what_is_not_there_is_a_problem(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "scan", "nowhere"]) == 2
    assert "there is nothing to scan" in capsys.readouterr().err


def test_sarif_that_cannot_be_written_is_a_problem(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "scan", "models", "--sarif", "nowhere/out.sarif"]) == 2
    assert "the findings cannot be written" in capsys.readouterr().err


def test_sarif_has_a_rule_and_a_place_for_each_result(workshop: Path) -> None:
    (workshop / "models" / "good" / "1" / "a scaler.pkl").write_bytes(PICKLE)
    assert main(["model", "scan", "models", "--sarif", "out.sarif"]) == 1
    log: dict[str, Any] = json.loads(Path("out.sarif").read_text())
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    assert log["$schema"].endswith("sarif-2.1.0.json")
    driver, results = log["runs"][0]["tool"]["driver"], log["runs"][0]["results"]
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    assert len({rule["id"] for rule in driver["rules"]}) == len(RULES)
    assert {result["ruleId"] for result in results} >= {"operator-foreign", "embedded-address", "file-pickle"}
    for result in results:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"].endswith(".")
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.startswith("models/") and " " not in uri
        assert all(each["name"] for each in location.get("logicalLocations", ()))
    assert any("a%20scaler.pkl" in json.dumps(result) for result in results)


def test_where_nothing_is_a_model_nothing_is_green(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("readme.txt").write_text("any")
    for path in ("empty", "readme.txt"):
        assert main(["model", "scan", path]) == 2
        assert "nothing that was scanned is a model" in capsys.readouterr().err
    Path("empty/scaler.pkl").write_bytes(PICKLE)
    assert main(["model", "scan", "empty"]) == 1


def test_sarif_goes_to_standard_output_alone(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "scan", "models", "--sarif", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"
    assert not Path("-").exists()
    assert main(["model", "scan", "models", "--sarif", "-", "--json"]) == 2
