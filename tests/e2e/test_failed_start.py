"""A server that cannot start says why once."""

import subprocess
import sys
from pathlib import Path

from tests import models


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
