"""NVIDIA's perf_analyzer against a real server, to a finished report."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import models
from tests.support import serve_process

ANALYZER = shutil.which("perf_analyzer", path=str(Path(sys.executable).parent)) or shutil.which("perf_analyzer")


def runs() -> bool:
    """The wheel is for newer C libraries than some systems have."""
    if ANALYZER is None:
        return False
    return subprocess.run([ANALYZER, "--version"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not runs(), reason="perf_analyzer is not installed, or does not run here")


@pytest.mark.parametrize("options", [[], ["--streaming"], ["-b", "8"]], ids=["unary", "streaming", "batched"])
def test_perf_analyzer_finishes_its_report(tmp_path: Path, options: list[str]) -> None:
    model, report = tmp_path / "mlp.onnx", tmp_path / "report.csv"
    model.write_bytes(models.mlp())
    with serve_process(model) as server:
        command = [ANALYZER, "-m", "mlp", "-i", "grpc", "-u", server.grpc, "-f", str(report)]
        command += ["--concurrency-range", "4", "--measurement-mode", "count_windows"]
        command += ["--measurement-request-count", "100", "-s", "900", *options]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (row,) = csv.DictReader(report.open())
    assert float(row["Inferences/Second"]) > 0
    assert float(row["Server Queue"]) >= 0
    assert float(row["Server Compute Infer"]) > 0
