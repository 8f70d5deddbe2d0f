"""What a container's memory is bounded by, in the words of both versions of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward import container_memory
from modelward.container_memory import kills, room

MIB = 1 << 20


def bounded(
    monkeypatch: pytest.MonkeyPatch, folder: Path, bound: str | None, stat: str, kinds: tuple[str, str]
) -> int | None:
    """In the second place, as where the first is not there."""
    if bound is not None:
        (folder / "bound").write_text(bound)
    (folder / "stat").write_text(stat)
    none = folder / "none", folder / "none", ("anon", "shmem")
    monkeypatch.setattr(container_memory, "BOUNDS", (none, (folder / "bound", folder / "stat", kinds)))
    return room()


@pytest.mark.parametrize(
    ("stat", "kinds"),
    [
        (f"anon {100 * MIB}\nfile {400 * MIB}\nshmem {28 * MIB}\n", ("anon", "shmem")),
        (f"cache {400 * MIB}\ntotal_rss {100 * MIB}\ntotal_shmem {28 * MIB}\n", ("total_rss", "total_shmem")),
    ],
    ids=["version 2", "version 1"],
)
def test_what_files_keep_in_memory_takes_no_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stat: str, kinds: tuple[str, str]
) -> None:
    assert bounded(monkeypatch, tmp_path, f"{512 * MIB}\n", stat, kinds) == 384 * MIB


@pytest.mark.parametrize("bound", ["max\n", None])
def test_without_a_bound_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bound: str | None) -> None:
    assert bounded(monkeypatch, tmp_path, bound, "anon 1\n", ("anon", "shmem")) is None


def test_more_than_all_in_use_is_no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert bounded(monkeypatch, tmp_path, "5", "anon 9\n", ("anon", "shmem")) == 0


@pytest.mark.parametrize(
    "text", ["low 0\noom 3\noom_kill 2\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "nr_free 9\noom_kill 2\n"]
)
def test_those_that_were_killed_are_counted_where_the_kernel_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "old").write_text("under_oom 0\n")
    (tmp_path / "counts").write_text(text)
    monkeypatch.setattr(container_memory, "KILLS", (tmp_path / "none", tmp_path / "old", tmp_path / "counts"))
    assert kills() == 2
    monkeypatch.setattr(container_memory, "KILLS", (tmp_path / "none",))
    assert kills() == 0
