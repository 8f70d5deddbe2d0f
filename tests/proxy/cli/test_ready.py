"""What READY prints where stdout is no terminal, and where the log is JSON."""

from __future__ import annotations

import json

import pytest

from modelward.cli.ready import print_json_ready, print_ready
from modelward.config.listen import Listen
from modelward.problem import Problem
from modelward.repository.refused import Refused
from modelward.server.report import COLUMNS, Report


def test_addresses_are_lines_that_programs_can_read_however_narrow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    grpc, admin = (f"unix:/run/{name}{'/a-long-folder' * 5}/of.sock" for name in ("grpc", "admin"))
    listen = Listen.model_validate({"grpc": grpc, "http": "127.0.0.1:8002", "admin": admin})
    print_ready(Report((), (), ()), listen)
    lines = capsys.readouterr().out.splitlines()
    assert f"gRPC     {grpc}" in lines
    assert f"admin    {admin}" in lines


def test_in_a_log_of_json_it_is_one_line_like_all_others(capsys: pytest.CaptureFixture[str]) -> None:
    listen = Listen.model_validate({"grpc": "127.0.0.1:8001", "http": "[::1]:8002", "admin": "off"})
    row = tuple(f"{column} of\nfraud" for column in COLUMNS)
    refused = Refused("broken", "", (Problem("it is no model", "broken/1"),))
    print_json_ready(Report((row,), (("state", "none is known"),), ("a note",), (refused,)), listen, 3)
    printed = capsys.readouterr().out
    assert printed.endswith("\n") and printed.count("\n") == 1
    told = json.loads(printed)
    assert {key: told[key] for key in ("level", "logger", "message", "worker")} == {
        "level": "info", "logger": "modelward.serve", "message": "READY", "worker": None
    }  # fmt: skip
    assert told["fields"] == {
        "grpc": "127.0.0.1:8001",
        "http": "[::1]:8002",
        "workers": 3,
        "models": [dict(zip(COLUMNS, row, strict=True))],
        "guards": {"state": "none is known"},
        "refused": [str(refused)],
        "notes": ["a note"],
    }
