"""A server that starts itself again, so that malloc heeds its settings."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from modelward import tunables
from modelward.tunables import AGAIN, exec_tuned, tuned


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The environments of processes that would have been started."""
    environments: list[dict[str, str]] = []

    def execve(path: str, argv: Any, environment: dict[str, str]) -> None:
        environments.append(environment)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "modelward", "serve"])
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.delenv(AGAIN, raising=False)
    return environments


def test_it_is_started_with_the_settings(started: list[dict[str, str]]) -> None:
    exec_tuned()
    assert [each["GLIBC_TUNABLES"] for each in started] == [tuned("")]


def test_where_the_loader_takes_them_away_it_is_started_no_second_time(
    started: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    exec_tuned()
    monkeypatch.setenv(AGAIN, started[0][AGAIN])
    exec_tuned()
    assert len(started) == 1
    assert AGAIN not in os.environ


def test_where_they_are_there_it_goes_on(started: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", tuned("glibc.malloc.check=1"))
    exec_tuned()
    assert started == []


def test_where_it_cannot_be_started_again_it_goes_on_and_says_so(
    started: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, argv: Any, environment: dict[str, str]) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "execve", refuse)
    monkeypatch.setattr(tunables, "notes", [])
    exec_tuned()
    (told,) = tunables.notes
    assert told == f"malloc keeps its usual settings: {sys.executable} cannot be started again: Permission denied"
