"""What a process of the server imports before it can do anything: every start, of a user or of a test, waits for it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelward
from tests.models import identity, repository
from tests.support import ServerProcess, serve_process, wait_until

MODULES = "import json, sys, {0}; print(json.dumps(sorted(sys.modules)))"
RUN = """
import json, sys
from modelward.cli.app import main
main({0})
print("\\n" + json.dumps(sorted(sys.modules)))
"""
# tells at its end what a process of a server has imported
AT_EXIT = """
import atexit, json, os, pathlib, sys

def tell():
    is_worker = pathlib.Path("/proc/self/comm").read_text().startswith("mw-worker")
    (pathlib.Path({folder!r}) / ("worker" if is_worker else "supervisor")).write_text(json.dumps(sorted(sys.modules)))

atexit.register(tell)
"""

SUPERVISOR = {"numpy", "onnx", "onnxruntime", "grpc", "jwt", "cryptography", "aiohttp", "rich", "prometheus_client"}
CHECKS = {"pydantic", "pydantic_core", "yaml"}
"""What a configuration is read and checked with, in a child that ends then."""
WORKER = {"aiohttp", "rich", "jwt", "cryptography", "prometheus_client", "numpy", "onnx", "yaml", "grpc"}
COMMAND = {"onnx", "onnxruntime", "aiohttp", "jwt", "cryptography", "jsonschema", "psycopg", "model_signing"}
# by packages or modules: what only operators, approvals, audit, integrity, sealing, access_log and cold calls need
UNCONFIGURED = {"jwt", "cryptography", "jsonschema", "psycopg", "model_signing", "sigstore", "bech32"}
UNCONFIGURED |= {"google.protobuf", "importlib.metadata", "prometheus_client", "http.client", "email"}
PARTS = {
    "approvals.book", "approvals.desk", "approvals.differences", "approvals.proposal", "approvals.signatures",
    "audit.log", "audit.merkle", "audit.opening", "audit.trail", "audit.witnesses",
    "supervisor.decisions", "supervisor.minutes", "supervisor.observer", "supervisor.proposals",
    "integrity.bundle", "integrity.library", "integrity.listing", "integrity.manifest", "integrity.signature",
    "integrity.trust", "sealing.age", "sealing.keys", "sealing.process", "sealing.sources",
    "server.access_log", "telemetry.access_records",
}  # fmt: skip


# of a supervisor and its worker, beside the files of libraries: 45 and 52 here
LARGEST_HOP_MiB, LARGEST_EMBEDDED_MiB = 52, 60


def imported(code: str) -> set[str]:
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return set(json.loads(told.splitlines()[-1]))


# what the process that reads model files is for
READING = {"numpy", "onnx", "ml_dtypes", "onnxruntime", "modelward.models.model_file", "modelward.scanning.scanner"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a server with defaults has imported from its start over a scrape to its end, in a file for each process."""
    folder = tmp_path_factory.mktemp("imports")
    (folder / "sitecustomize.py").write_text(AT_EXIT.format(folder=str(folder)))
    models = repository(folder / "models", {"m": identity()})
    with serve_process(models, environment={"PYTHONPATH": str(folder)}) as server:
        assert "modelward_build_info" in server.page("/metrics")[1]
        assert server.terminate() == 0
    yield folder


@pytest.mark.parametrize(
    ("module", "absent"), [("modelward.cli.serving", SUPERVISOR), ("modelward.server.worker", WORKER)]
)
def test_a_process_imports_no_library_that_only_others_need(module: str, absent: set[str]) -> None:
    loaded = imported(MODULES.format(module))
    assert module in loaded
    assert absent & loaded == set()


def anonymous_mib(server: ServerProcess) -> float:
    """Memory of supervisor and workers that is no file's: what they have in common counts once."""
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in (server.process.pid, *server.workers()))
    lines = (line for rollup in rollups for line in rollup.splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:")) / 1024


def test_neither_process_of_a_hop_imports_a_library_for_models_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT.format(folder=str(tmp_path)))
    with serve_process(repository(tmp_path / "models", {"m": identity()})) as upstream:
        sets = ("--set", f"models.m.upstreams=[{upstream.grpc}]")
        with serve_process(*sets, environment={"PYTHONPATH": str(tmp_path)}) as hop:
            assert anonymous_mib(hop) < LARGEST_HOP_MiB
            assert hop.terminate() == 0
    for process in ("supervisor", "worker"):
        loaded = set(json.loads((tmp_path / process).read_text()))
        assert "modelward.config.schema" in loaded
        assert (WORKER | READING | CHECKS) & loaded == set()


@pytest.mark.parametrize("process", ["supervisor", "worker"])
def test_a_server_imports_nothing_for_what_is_not_configured(process: str, ran: Path) -> None:
    loaded = set(json.loads((ran / process).read_text()))
    own = {"supervisor": "modelward.admin.server", "worker": "modelward.server.app"}
    assert own[process] in loaded
    assert (UNCONFIGURED | CHECKS | READING) & loaded == set()
    assert {f"modelward.{part}" for part in PARTS} & loaded == set()


def test_a_worker_that_follows_its_repository_imports_nothing_of_what_reads_models(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT.format(folder=str(tmp_path)))
    models = repository(tmp_path / "models", {"m": identity()})
    sets = ("--set", "models.m.fallback=[{value: {y: 0}}]", "--set", "watch=false")
    with serve_process(models, *sets, environment={"PYTHONPATH": str(tmp_path)}) as server:
        assert anonymous_mib(server) < LARGEST_EMBEDDED_MiB
        repository(models, {"n": identity()})
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.metric("modelward_model_info", model="n") == 1, "the second model")
        assert server.terminate() == 0
    assert READING & set(json.loads((tmp_path / "worker").read_text())) == set()


def test_what_is_said_not_to_be_imported_is_there() -> None:
    package = Path(modelward.__file__).parent
    assert [part for part in sorted(PARTS) if not (package / f"{part.replace('.', '/')}.py").exists()] == []


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("--help", {"grpc", "numpy", "pydantic", "rich", "yaml", "modelward_native"}),
        ("infer --help", {"modelward_native", "modelward.server", "modelward.supervisor"}),
        ("status --admin 127.0.0.1:1", {"numpy", "modelward_native", "modelward.server", "modelward.supervisor"}),
    ],
)
def test_a_command_imports_no_library_of_the_server(command: str, absent: set[str]) -> None:
    loaded = imported(RUN.format(command.split()))
    assert "modelward.cli.app" in loaded
    assert (COMMAND | absent) & loaded == set()
    assert {f"modelward.{part}" for part in PARTS} & loaded == set()
