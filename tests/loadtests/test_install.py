"""What counts as a fresh system, and how a program in its root is kept from writing it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from loadtests import install
from loadtests.tools import roots


def root(folder: Path, *files: str) -> Path:
    for each in files:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).touch()
    return folder


def test_a_system_with_python_alone_is_fresh(tmp_path: Path) -> None:
    assert install.foreign(root(tmp_path, "usr/bin/python3", "usr/lib/x86_64-linux-gnu/libz.so.1")) == []


@pytest.mark.parametrize("file", ["usr/bin/gcc", "usr/bin/cc", "usr/lib/x86_64-linux-gnu/libnghttp2.so.14"])
def test_a_system_with_what_the_wheel_must_do_without_is_not(tmp_path: Path, file: str) -> None:
    assert install.foreign(root(tmp_path, "usr/bin/python3", file)) == [tmp_path / file]


def test_a_tool_that_is_missing_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(roots.Missing, match=r"bwrap is not installed \(Debian: apt-get install bubblewrap\)"):
        roots.command(Path("/"), ["/bin/true"])


@pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to the user")
def test_a_program_writes_its_own_folder_and_nothing_else() -> None:
    written = "id -u; touch /mnt/mine; touch /usr/other 2>/dev/null || echo refused"
    with install.writable() as folder:
        command = roots.command(Path("/"), ["/bin/sh", "-c", written], writes={folder: "/mnt"})
        ran = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False)
        assert ran.stdout.split() == [str(roots.USER), "refused"], ran.stderr
        assert [each.name for each in folder.iterdir()] == ["mine"]
