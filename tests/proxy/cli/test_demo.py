"""`modelward demo`: one command shows every guard at work, and says so only where it is true."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelward.cli import demo
from modelward.cli.app import main
from modelward.demo import serving

ROOT = Path(__file__).parents[3]
ANYWHERE = ["--grpc-port", "0", "--http-port", "0"]
STEPS = ["ordinary", "unusual", "burst", "slow"]

# an import of these raises ImportError
BARE = """
import sys
for name in ("sklearn", "skl2onnx", "scipy", "pyarrow", "tritonclient"):
    sys.modules[name] = None
from modelward.cli.app import main
sys.exit(main(["demo", "--exit", "--json", "--grpc-port", "0", "--http-port", "0"]))
"""


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "modelward", "demo", *flags]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def steps(document: str) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in json.loads(document)["steps"]}


def test_the_tour_shows_each_guard_and_exits_0_and_default_ports_that_are_taken_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], taken: int
) -> None:
    monkeypatch.setattr(demo, "GRPC_PORT", taken)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["demo", "--exit", "--http-port", "0"]) == 0
    out = capsys.readouterr().out
    assert f"127.0.0.1:{taken} is taken: gRPC gets another port" in out
    for shown in (
        "fitting the profile of breast_cancer to its 569 training rows of 30 features",
        "READY",
        "metrics  http://127.0.0.1:",
        "import tritonclient.grpc as triton",
        "ok      a normal request is answered",
        "benign 9",
        "ok      a request unlike the training data is flagged",
        "most unusual: mean smoothness +",
        "ok      a burst is refused by the limit",
        "retry in 0.",
        "ok      a slow model is answered for by its fallback value",
        "[0.5, 0.5] after ",
        "all 4 happened",
    ):
        assert shown in out
    assert "\x1b[" not in out
    assert "FAILED" not in out


def test_json_is_one_document_with_the_facts_and_needs_nothing_of_the_test_extra() -> None:
    done = subprocess.run([sys.executable, "-c", BARE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = steps(done.stdout)
    assert list(seen) == STEPS
    assert all(step["happened"] for step in seen.values())
    assert seen["ordinary"]["probabilities"]["benign"] > 0.9
    assert seen["unusual"]["score"] > seen["unusual"]["threshold"]
    assert set(seen["unusual"]["most_unusual"]) == {"mean texture", "mean smoothness", "worst symmetry"}
    assert seen["burst"]["answered"] + seen["burst"]["refused"] == 30
    assert 0 < seen["burst"]["retry_seconds"] <= 1
    assert (seen["slow"]["reason"], seen["slow"]["source"]) == ("deadline", "value")
    assert seen["slow"]["seconds"] < seen["slow"]["model_seconds"]


def test_it_stays_up_for_the_snippet_until_interrupted() -> None:
    with subprocess.Popen(command("--json", *ANYWHERE), cwd=ROOT, stdout=subprocess.PIPE, text=True) as serving_on:
        assert serving_on.stdout is not None
        document = json.loads("".join(iter(serving_on.stdout.readline, "}\n")) + "}")
        pasted = subprocess.run(
            [sys.executable, "-c", document["snippet"]], capture_output=True, text=True, check=False, timeout=60
        )
        serving_on.send_signal(signal.SIGINT)
        assert serving_on.wait(timeout=60) == 0
    assert pasted.returncode == 0, pasted.stderr
    assert re.fullmatch(r"\[1\] \[\[0\.0\d* +0\.9\d* *\]\]\n", pasted.stdout)


def test_steps_that_show_no_guard_are_failed_steps_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "BURST", 1000)
    monkeypatch.setattr(serving, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(serving, "SLOW_DEADLINE", "10s")
    assert main(["demo", "--exit", *ANYWHERE]) == 1
    out = capsys.readouterr().out
    assert "FAILED  a burst is refused by the limit\n          30 requests at once ended as {'OK': 30}" in out
    assert "FAILED  a slow model is answered for by its fallback value\n          answered in" in out
    assert "ok      a request unlike the training data is flagged" in out
    assert "2 of 4 did not happen" in out


def test_a_port_asked_for_that_is_taken_is_a_problem(capsys: pytest.CaptureFixture[str], taken: int) -> None:
    assert main(["demo", "--exit", "--grpc-port", str(taken), "--http-port", "0"]) == 1
    assert f"problem: cannot listen on 127.0.0.1:{taken}" in capsys.readouterr().err


def test_nowhere_to_write_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert main(["demo", "--exit", *ANYWHERE]) == 1
    assert "problem: the demo cannot write its models" in capsys.readouterr().err
