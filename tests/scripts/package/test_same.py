"""Two builds are the same bytes, or the files that differ are named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.package import archive, same

EPOCH = 1_700_000_000
FILES = {"modelward/a.py": b"a", "modelward/b.py": b"b", "modelward-0.1.0.dist-info/METADATA": b"Name: modelward\n"}


def written(place: Path, files: dict[str, bytes], epoch: int = EPOCH) -> Path:
    place.mkdir()
    archive.write(place / "a.whl", files, epoch)
    return place / "a.whl"


def told(
    one: Path, other: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str], list[str]]:
    """The exit code, digests and complaints of `python -m scripts.package.same`."""
    monkeypatch.setattr(sys, "argv", ["same", str(one), str(other)])
    code = same.main()
    printed = capsys.readouterr()
    return code, [line.split()[2] for line in printed.out.splitlines()], printed.err.splitlines()


def test_equal_wheels_have_one_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, digests, complaints = told(
        written(tmp_path / "one", FILES), written(tmp_path / "other", FILES), monkeypatch, capsys
    )
    assert (code, complaints, len(set(digests))) == (0, [], 1)


def test_files_that_differ_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = written(tmp_path / "other", {**FILES, "modelward/a.py": b"A", "modelward/c.py": b"c"})
    code, digests, complaints = told(written(tmp_path / "one", FILES), other, monkeypatch, capsys)
    assert (code, len(set(digests))) == (1, 2)
    differing = ("modelward-0.1.0.dist-info/RECORD", "modelward/a.py", "modelward/c.py")
    assert complaints == [f"wheel: {name} differs" for name in differing]


def test_wheels_of_the_same_files_with_other_times_differ_as_archives(tmp_path: Path) -> None:
    other = written(tmp_path / "other", FILES, EPOCH + 86_400)
    assert same.differences(written(tmp_path / "one", FILES), other) == ["the archive"]
