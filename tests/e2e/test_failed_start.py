"""A server that cannot start says why once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests import models
from tests.support import serve_process


def test_a_problem_of_the_first_start_is_told_once(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    settings = ("listen.grpc=127.0.0.1:0", "listen.http=127.0.0.1:0", "listen.admin=off", "workers=2")
    sets = [f"--set={each}" for each in (*settings, f"state={tmp_path}/state", "version_policy=explicit")]
    command = [sys.executable, "-m", "modelward", "serve", str(root), *sets]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("version_policy is explicit") == 1, ended.stderr
    assert "starting another" not in ended.stderr
    assert f"{root}/add" in ended.stderr


def test_a_state_folder_is_one_servers_until_that_has_ended(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    state = f"--set=state={tmp_path}/state"
    command = [sys.executable, "-m", "modelward", "serve", str(root), "--grpc-port=0", "--http-port=0", state]
    with serve_process(root, state) as server:
        second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert second.returncode == 1
        assert f"another server keeps its state here: process {server.process.pid}" in second.stderr
        os.kill(server.process.pid, signal.SIGKILL)  # its workers may end later, and do not hold the folder
        server.process.wait()
        with serve_process(root, state):
            pass
