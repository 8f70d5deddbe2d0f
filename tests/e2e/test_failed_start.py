"""A server that cannot start says why once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from modelward.tunables import MALLOC_TUNABLES
from tests import models
from tests.support import serve_process

# a server whose workers, which it forks, get no thread
NO_THREAD = """
import sys, threading
def refuse(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
from modelward.__main__ import main
sys.exit(main())
"""


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


def test_a_thread_that_workers_do_not_get_is_told_with_the_limit_that_is_to_be_raised(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    words = ["serve", str(root), "--grpc-port=0", "--http-port=0", "--set=listen.admin=off", f"--set=state={tmp_path}"]
    ended = subprocess.run(
        [sys.executable, "-c", NO_THREAD, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "GLIBC_TUNABLES": MALLOC_TUNABLES},
    )
    assert ended.returncode == 1
    assert "the system starts no further thread" in ended.stderr
    assert "pids.max" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_configuration_that_is_piped_in_is_refused_for_what_it_is() -> None:
    command = [sys.executable, "-m", "modelward", "serve", "--config", "/dev/stdin"]
    piped = subprocess.run(command, input="watch: true", capture_output=True, text=True, timeout=120, check=False)
    assert piped.returncode == 1
    assert "it is no regular file" in piped.stderr
    assert "Write it to a file" in piped.stderr
