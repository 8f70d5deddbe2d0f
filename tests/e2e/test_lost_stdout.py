"""A server whose stdout is closed or full serves on, and says so once."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import models
from tests.support import wait_until


@pytest.mark.parametrize("lost", ["closed", "full"])
def test_a_server_that_cannot_show_ready_serves_until_it_is_told_to_end(tmp_path: Path, lost: str) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    said = tmp_path / "log"
    reading, writing = os.pipe()
    os.close(reading)
    if lost == "full":
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    settings = ("grpc=127.0.0.1:0", "http=127.0.0.1:0", "admin=off")
    places = [f"--set=listen.{each}" for each in settings]
    command = [sys.executable, "-m", "modelward", "serve", str(root), f"--set=state={tmp_path}/state", *places]
    with said.open("wb") as log:
        server = subprocess.Popen(command, stdout=writing, stderr=log)
    os.close(writing)
    try:
        told = lambda: re.findall(r"WARNING .*stdout cannot be written", said.read_text())  # noqa: E731
        wait_until(lambda: told() or server.poll() is not None, "the warning", 60)
        assert len(told()) == 1
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0, said.read_text()
        assert "drained" in said.read_text() and "Traceback" not in said.read_text()
    finally:
        server.kill()
        server.wait()
