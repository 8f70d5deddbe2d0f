"""The cores that `workers: auto` counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelward.config import workers

MANY = 64


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the kernel's files, on a machine with many cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(MANY)))
    monkeypatch.setattr(workers, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(workers, "CPU_QUOTA_1", (tmp_path / "quota", tmp_path / "period"))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "cores"),
    [("200000 100000\n", 2), ("250000 100000\n", 3), ("5000 100000\n", 1), ("max 100000\n", MANY), ("?", MANY)],
)
def test_a_quota_of_a_container_bounds_them(text: str, cores: int, files: Path) -> None:
    (files / "cpu.max").write_text(text)
    assert workers.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("200000\n", 2), ("150000\n", 2), ("-1\n", MANY)])
def test_so_does_one_of_the_first_version_of_cgroups(quota: str, cores: int, files: Path) -> None:
    (files / "quota").write_text(quota)
    (files / "period").write_text("100000\n")
    assert workers.cores() == cores


def test_without_a_quota_all_that_the_process_may_use_count(files: Path) -> None:
    assert workers.cores() == MANY
