"""A state folder is one server's."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from modelward.problem import ProblemsFound
from modelward.supervisor.state_lock import FILE, locked


def refused(folder: Path | None) -> str:
    with pytest.raises(ProblemsFound) as found, locked(folder):
        pass
    return str(found.value)


def test_a_second_server_is_refused_and_told_which_process_has_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "state"
    with locked(folder):
        told = refused(folder)
    assert told.startswith(f"{folder}: another server keeps its state here: process {os.getpid()}: ")
    assert "give this one another folder: --set state=DIR" in told


def test_the_folder_is_free_when_the_server_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path):
            refused(tmp_path)


def test_a_folder_of_the_environment_is_one_servers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    with locked(None):
        assert str(tmp_path) in refused(None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("7 elsewhere.example\n", "here: process 7 on elsewhere.example: "),
        ("7 else\nwhere\n", "here: what one"),
        ("", "here: what one"),
    ],
)
def test_a_process_of_another_machine_is_told_with_its_host(text: str, told: str, tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / FILE).write_text(text)
        assert told in refused(tmp_path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a server that is given no state folder."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_folder_that_is_given_the_second_server_is_told_of_and_served(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (here / ".modelward").mkdir()
    with locked(None):
        assert caplog.messages == []
        with locked(None):
            (told,) = caplog.messages
    assert told.startswith(f".modelward: another server keeps its state here: process {os.getpid()}: ")


def test_no_folder_is_made_for_a_server_that_is_given_none(here: Path) -> None:
    with locked(None):
        assert [*here.iterdir()] == []


def test_a_server_whose_folder_cannot_be_written_is_not_refused_for_that(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in its place")
    with locked(tmp_path / "state"), locked(tmp_path / "state"):
        pass


def test_on_a_file_system_without_locks_a_server_starts_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path):
        (told,) = caplog.messages
    assert told == f"{tmp_path} cannot be locked, so that a second server is not noticed: No locks available"
