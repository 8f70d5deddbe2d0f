"""What a load test tells of itself where no terminal is."""

from __future__ import annotations

import time

import pytest

from loadtests.tools import progress


def test_a_line_is_written_at_the_beginning_and_then_now_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress.progress("it begins") as told:
        told("too soon")
        now[0] += progress.SECONDS
        told("a while later")
    assert [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()] == ["it begins", "a while later"]
