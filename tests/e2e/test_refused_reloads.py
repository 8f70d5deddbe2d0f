"""A reload that was refused, or an earlier one that has done the work, shows where operators look."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests import models
from tests.commands import modelward
from tests.e2e.test_admin import told
from tests.support import ServerProcess, serve_process, wait_until


def refusals(server: ServerProcess) -> float:
    return server.metric("modelward_reloads_total", result="refused")


def test_a_configuration_that_cannot_be_read_shows_in_metrics_and_status_until_it_is_mended(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    good = f"repository: {root}\n"
    file = tmp_path / "modelward.yaml"
    file.write_text(good)
    with serve_process("--config", file) as server:
        assert server.metric("modelward_last_reload_successful") == 1
        file.write_text(f"{good}limitz: 3\n")
        wait_until(lambda: refusals(server) == 1, "the refusal is counted")
        assert server.metric("modelward_last_reload_successful") == 0
        assert told(server, "status")["refused_reload"]["actor"] == "watching"
        shown = modelward("status", "--admin", server.admin).stdout
        assert "the last reload was refused at " in shown and "limitz" in shown
        file.write_text(good)
        wait_until(lambda: server.metric("modelward_last_reload_successful") == 1, "the mended file is served")
        assert refusals(server) == 1
        assert told(server, "status").get("refused_reload") is None


def test_a_refused_reload_shows_without_a_watch_too(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    file = tmp_path / "modelward.yaml"
    file.write_text(f"repository: {root}\nwatch: false\n")
    with serve_process("--config", file) as server:
        file.write_text(f"repository: {root}\nwatch: false\nlimitz: 3\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: refusals(server) == 1, "the refusal is counted")
        assert server.metric("modelward_last_reload_successful") == 0


def test_a_reload_after_the_watch_has_applied_an_edit_says_what_that_has_changed(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    file = tmp_path / "modelward.yaml"
    file.write_text(f"repository: {root}\n")
    with serve_process("--config", file) as server:
        file.write_text(f"repository: {root}\nlimits: {{streams: 64}}\n")
        wait_until(lambda: server.metric("modelward_reloads_total", result="applied") == 1, "the edit is applied")
        again = modelward("reload", "--admin", server.admin)
        assert again.returncode == 0
        assert "nothing changed" in again.stdout
        assert "by watching: limits.streams" in again.stdout
        models.repository(root, {"broken": b"no model"})
        wait_until(lambda: server.metric("modelward_reloads_total", result="partial") >= 1, "the broken model")
        beside = modelward("reload", "--admin", server.admin)
        assert beside.returncode == 1
        assert "this is no ONNX model" in beside.stderr
        assert "by watching: limits.streams" in beside.stdout


def readers_of(server: ServerProcess) -> list[int]:
    """Processes that read its configuration."""
    found = []
    for children in Path(f"/proc/{server.process.pid}/task").glob("*/children"):
        for pid in children.read_text().split():
            with suppress(OSError):  # it has ended
                found += [int(pid)] if b"modelward.child" in Path(f"/proc/{pid}/cmdline").read_bytes() else []
    return found


def test_a_change_whose_reader_is_killed_is_followed_without_another_one(tmp_path: Path) -> None:
    """As the system does where memory is short."""
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    file = tmp_path / "modelward.yaml"
    file.write_text(f"repository: {root}\n")
    own = {"PYTHONUNBUFFERED": "1"}  # a process that reads as one that is started does
    with serve_process("--config", file, environment=own) as server:
        file.write_text(f"repository: {root}\nlimits: {{streams: 64}}\n")
        (reader,) = wait_until(lambda: readers_of(server), "the file is read")
        os.kill(reader, signal.SIGKILL)
        wait_until(lambda: server.metric("modelward_reloads_total", result="applied") == 1, "the edit is applied")
        assert refusals(server) == 1
