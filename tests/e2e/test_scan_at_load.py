"""Each version is scanned before it is opened: what is found is told, or keeps it from being served."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from modelward.cli.app import main
from modelward.problem import ProblemsFound
from modelward.scanning.finding import Finding
from modelward.scanning.scanner import scan_at_load
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, arrays, request
from tests.proxy.scanning.bad_models import BAD, PICKLE, with_metadata
from tests.support import reloadable, serve_process, serving

ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
HIDDEN = with_metadata(PICKLE)
FOUND = "its scan found 1 critical"


def test_what_is_bad_is_told_and_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), serving(tmp_path / "models", {"odd": HIDDEN}) as server:
        assert server.metric("modelward_scan_findings", severity="critical") == 1
        with Stub(server.grpc) as stub:
            np.testing.assert_array_equal(arrays(stub.infer(request("odd", {"x": ROW})))["y"], ROW)
    (told,) = [record.getMessage() for record in caplog.records if FOUND in record.getMessage()]
    assert "model odd version 1" in told and "a pickle that calls code" in told


def test_a_version_is_refused_for_what_is_as_severe_as_configured(tmp_path: Path) -> None:
    served = {"good": models.add_one(), "odd": {1: models.add_one(), 2: HIDDEN}}
    with (
        serving(tmp_path / "models", served, scan='{"refuse": "critical"}') as server,
        Stub(server.grpc) as stub,
    ):
        np.testing.assert_array_equal(arrays(stub.infer(request("odd", {"x": ROW})))["y"], ROW + 1)
        (refused,) = server.application.refused
        assert (refused.name, refused.version) == ("odd", "2")
        (problem,) = refused.problems
        assert problem.what == FOUND
        assert "modelward model scan" in problem.how and "models.odd.scan" in problem.how
        assert "/" not in refused.reason, "clients see no paths"
        assert server.metric("modelward_models_refused") == 1
        assert server.metric("modelward_scan_findings", severity="critical") == 0


def test_a_model_has_a_policy_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"scan": '{"refuse": "high"}', "models.loose.scan": "off", "models.told.scan": "warn"}
    with (
        caplog.at_level(logging.WARNING),
        serving(tmp_path / "models", {"loose": HIDDEN, "told": HIDDEN, "strict": HIDDEN}, **settings) as server,
    ):
        assert [each.name for each in server.application.refused] == ["strict"]
        assert {model.checked.name for model in server.application.models} == {"loose", "told"}
    notes = [r.getMessage() for r in caplog.records if FOUND in r.getMessage() and r.levelno == logging.WARNING]
    assert len(notes) == 1 and "told" in notes[0]


def test_what_lies_beside_the_model_counts(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one(), "odd": models.add_one()})
    (root / "odd/1/scaler.pkl").write_bytes(PICKLE)
    with serving(root, {}, scan='{"refuse": "high"}') as server:
        (refused,) = server.application.refused
        assert (refused.name, refused.problems[0].where) == ("odd", str(root / "odd/1/scaler.pkl"))


def test_findings_in_several_files_are_told_with_the_file_of_each(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one(), "odd": HIDDEN})
    (root / "odd/1/scaler.pkl").write_bytes(PICKLE)
    with serving(root, {}, scan='{"refuse": "high"}') as server, Stub(server.grpc) as stub:
        (refused,) = server.application.refused
        (problem,) = refused.problems
        files = {"model.onnx", "scaler.pkl"}
        first = Path(problem.where).name
        (other,) = files - {first}
        assert f"(file '{other}')" in problem.why and f"(file '{first}')" not in problem.why
        told = [each.reason for each in stub.ask("RepositoryIndex").models if each.name == "odd"]
        assert "/" not in told[0], "clients see no path"


def test_a_policy_that_would_end_the_service_of_a_version_is_not_followed(tmp_path: Path) -> None:
    with reloadable(tmp_path / "models", {"odd": HIDDEN}, scan="off") as server:
        assert server.metric("modelward_scan_findings", severity="critical") == 0
        server.reload(scan="warn")
        assert server.metric("modelward_scan_findings", severity="critical") == 1
        with pytest.raises(ProblemsFound, match="odd version 1: it is served, and scan would end that"):
            server.reload(scan='{"refuse": "critical"}')
        assert server.application.refused == () and server.application.config.scan == "warn"
        with Stub(server.grpc) as stub:
            np.testing.assert_array_equal(arrays(stub.infer(request("odd", {"x": ROW})))["y"], ROW)


def test_a_version_that_stays_is_not_scanned_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[Path] = []
    with reloadable(tmp_path / "models", {"good": models.add_one()}) as server:

        def noted(root: Path, file: Path, data: bytes) -> tuple[Finding, ...]:
            scanned.append(file)
            return scan_at_load(root, file, data)

        monkeypatch.setattr("modelward.models.model_file.scan_at_load", noted)
        models.repository(tmp_path / "models", {"new": models.add_one()})
        server.reload()
        assert [file.parts[-3] for file in scanned] == ["new"]


def test_status_and_check_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one(), "odd": HIDDEN})
    with serve_process(root, "--set", "scan={refuse: critical}") as server:
        (refused,) = json.loads(modelward("status", "--admin", server.admin, "--json").stdout)["refused"]
        assert (refused["name"], refused["problems"][0]["what"]) == ("odd", FOUND)
        assert "a pickle that calls code" in refused["problems"][0]["why"]
    assert main(["check", str(root)]) == 0
    assert FOUND in capsys.readouterr().err
    assert main(["check", str(root), "--set", "scan={refuse: critical}", "--set", "strict=true"]) == 1
    assert FOUND in capsys.readouterr().err


@pytest.mark.parametrize("policy", ["high", "{refuse: terrible}", "{deny: high}", "on"])
def test_a_policy_that_is_none_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one()})
    assert main(["check", str(root), "--set", f"scan={policy}"]) == 1
    assert "scan" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a_loop_without_trips", "terabytes_of_ones"])
def test_what_would_take_everything_is_refused_unopened(tmp_path: Path, name: str) -> None:
    bad = BAD[name][1](tmp_path)
    with serving(tmp_path / "models", {"good": models.add_one(), "bad": bad}, scan='{"refuse": "high"}') as server:
        (refused,) = server.application.refused
        assert refused.problems[0].what == "its scan found 1 high"
