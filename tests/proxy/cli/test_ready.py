"""What READY prints where stdout is no terminal."""

from __future__ import annotations

import pytest

from modelward.cli.ready import print_ready
from modelward.config.listen import Listen
from modelward.server.report import Report


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
