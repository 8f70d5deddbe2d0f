"""As a service: sockets that it is started with, what the service manager is told, and the units that we ship."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.e2e.messages import Stub, request
from tests.support import Manager, ServerProcess, serve_process, wait_until

UNITS = Path(__file__).parents[2] / "deploy/systemd"
ROW = request("add", {"x": np.ones((1, 4), np.float32)})
# What a service manager does between fork and exec: the first listening socket is 3, LISTEN_PID is the process's own.
LAUNCH = """
import os, sys
for target, descriptor in enumerate(sys.argv[1].split(","), 3):
    os.dup2(int(descriptor), target)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
# Tells at its end which variables a process has for programs that it starts.
VARIABLES = """
import atexit, os, pathlib, subprocess
atexit.register(lambda: (pathlib.Path({folder!r}) / str(os.getpid())).write_bytes(
    b"\\n".join(line.partition(b"=")[0] for line in subprocess.check_output(["env", "-0"]).split(b"\\0"))))
"""
# MemoryDenyWriteExecute=yes and NoNewPrivileges=yes of the unit, which workers inherit.
HARDEN = """
import ctypes, os, sys
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
prctl = ctypes.CDLL(None).prctl
if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.repository(tmp_path_factory.mktemp("systemd"), {"add": models.add_one()})


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with contextlib.closing(Manager(str(tmp_path / "notify"))) as manager:
        yield manager


@contextlib.contextmanager
def started(
    arguments: list[str | Path], sockets: dict[str, socket.socket], **environment: str
) -> Iterator[ServerProcess]:
    descriptors = [each.fileno() for each in sockets.values()]
    environment |= {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
    launcher = [sys.executable, "-c", LAUNCH, ",".join(map(str, descriptors))]
    with serve_process(*arguments, environment=environment, launcher=launcher, descriptors=descriptors) as running:
        yield running


def address(listening: socket.socket) -> str:
    return "{}:{}".format(*listening.getsockname())


def test_a_client_waits_in_the_sockets_queue_until_the_server_has_started(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, Stub(address(listening)) as stub:
        early = stub.future(ROW, wait_for_ready=True)
        with started([repository], {"grpc": listening}) as running:
            assert running.grpc == address(listening)
            assert early.result(30).model_name == "add"


def test_the_next_server_goes_on_with_the_sockets_of_the_last(repository: Path, tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as listening, socket.create_server(("127.0.0.1", 0)) as metrics:
        listening.bind(str(path))
        listening.listen()
        for _ in range(2):
            with started([repository, "--set", "workers=2"], {"grpc": listening, "metrics": metrics}) as running:
                assert (running.grpc, running.http) == (f"unix:{path}", address(metrics))
                assert running.page("/readyz")[0] == 200
                with Stub(running.grpc) as stub:
                    stub.infer(ROW)
                assert running.terminate() == 0
            assert path.exists()


def test_workers_inherit_neither_the_variables_nor_what_they_tell_of(
    repository: Path, manager: Manager, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(VARIABLES.format(folder=str(tmp_path)))
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000", "PYTHONPATH": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as listening, started([repository], {"": listening}, **told) as running:
        (worker,) = running.workers()
        held = [os.readlink(entry) for entry in Path(f"/proc/{worker}/fd").iterdir()]
        assert running.terminate() == 0
    names = (tmp_path / str(worker)).read_text().split()
    assert not {name for name in names if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))}
    assert "PATH" in names
    # of the sockets one that listens, and the channel; uvloop has a pair for signals
    assert len([each for each in held if each.startswith("socket:")]) <= 4


def test_the_manager_hears_of_start_reload_and_end(repository: Path, manager: Manager) -> None:
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    settings = ("--set", "workers=2", "--set", "watch=false", "--set", "strict=true")
    with serve_process(repository, *settings, environment=told) as running:
        assert manager.wait_for("READY")["STATUS"] == "2 of 2 workers ready"
        manager.wait_for("WATCHDOG")
        before = time.monotonic_ns() // 1000
        running.process.send_signal(signal.SIGHUP)
        assert int(manager.wait_for("RELOADING")["MONOTONIC_USEC"]) > before
        assert manager.wait_for("READY")["STATUS"] == "2 of 2 workers ready"
        (repository / "broken/1").mkdir(parents=True)
        (repository / "broken/1/model.onnx").write_bytes(b"no model")
        running.process.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING")
        assert "the last reload was refused" in manager.wait_for("READY")["STATUS"]
        shutil.rmtree(repository / "broken")
        running.process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING")
        assert running.process.wait(30) == 0


def test_a_supervisor_that_hangs_says_nothing_to_the_watchdog(
    repository: Path, manager: Manager, tmp_path: Path
) -> None:
    """While another one says it five times."""
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    with (
        contextlib.closing(Manager(str(tmp_path / "other"))) as other,
        serve_process(repository, environment=told) as running,
    ):
        manager.wait_for("WATCHDOG")
        running.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: ") T " in Path(f"/proc/{running.process.pid}/stat").read_text(), "the process to stop")
        manager.catch_up()  # with what was said before
        heard = len(manager.heard)
        with serve_process(repository, environment=told | {"NOTIFY_SOCKET": other.address}):
            for _ in range(5):
                other.wait_for("WATCHDOG")
        manager.catch_up()
        assert len(manager.heard) == heard + 1, "the catching up alone"
        running.process.send_signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG")


def test_a_socket_that_does_not_fit_is_told_with_how_to_mend_it(repository: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        pytest.raises(AssertionError, match="inherited socket 'ftp'") as refused,
        started([repository], {"ftp": listening}),
    ):
        pass
    assert "FileDescriptorName=" in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_it_runs_where_memory_is_never_both_writable_and_executable(repository: Path) -> None:
    hardened = [sys.executable, "-c", HARDEN]
    if subprocess.run([*hardened, shutil.which("true") or "true"], check=False).returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")
    with serve_process(repository, launcher=hardened) as running, Stub(running.grpc) as stub:
        stub.infer(ROW)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_units_are_in_order(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/modelward/bin/modelward", sys.executable))
    verify = ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())]
    verified = subprocess.run(verify, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
