"""What a process of the server imports before it can do anything: every start, of a user or of a test, waits for it."""

import json
import subprocess
import sys

import pytest

MODULES = "import json, sys, {0}; print(json.dumps(sorted(sys.modules)))"


SUPERVISOR = {"numpy", "onnx", "onnxruntime", "grpc", "jwt", "cryptography"}
WORKER = {"aiohttp", "rich", "jwt", "cryptography", "prometheus_client"}


@pytest.mark.parametrize(
    ("module", "absent"), [("modelward.cli.serve", SUPERVISOR), ("modelward.server.worker", WORKER)]
)
def test_a_process_imports_no_library_that_only_others_need(module: str, absent: set[str]) -> None:
    command = [sys.executable, "-c", MODULES.format(module)]
    loaded = set(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert module in loaded
    assert absent & loaded == set()
