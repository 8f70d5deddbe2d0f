"""Unix sockets: who may connect, and which files are replaced."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from modelward.config.address import Address
from modelward.problem import ProblemsFound
from modelward.server.bind import BoundSocket


def left_behind(path: Path) -> Path:
    """The socket of a process that is dead."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    return path


def bind(path: Path, mode: int = 0o600) -> BoundSocket:
    return BoundSocket(Address(path=str(path)), mode)


def refusal(path: Path) -> str:
    with pytest.raises(ProblemsFound) as found:
        bind(path)
    return str(found.value)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_file_has_the_mode_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        bound = bind(tmp_path / "s", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode
    bound.close()


def test_the_file_goes_with_the_socket(tmp_path: Path) -> None:
    bind(tmp_path / "s").close()
    assert not (tmp_path / "s").exists()


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    bound = bind(left_behind(tmp_path / "s"))
    bound.socket.listen()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
    bound.close()


def test_a_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(tmp_path / "s"))
        alive.listen()
        assert "Address already in use" in refusal(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))


def test_a_socket_of_a_server_that_is_still_starting_is_left_alone(tmp_path: Path) -> None:
    starting = bind(tmp_path / "s")
    assert "Address already in use" in refusal(tmp_path / "s")
    starting.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    assert "Address already in use" in refusal(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "precious"


def test_a_file_that_somebody_else_has_put_there_meanwhile_stays(tmp_path: Path) -> None:
    bound = bind(tmp_path / "s")
    (tmp_path / "s").rename(tmp_path / "moved")
    (tmp_path / "s").write_text("precious")
    bound.close()
    assert (tmp_path / "s").read_text() == "precious"


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x.sock"
    with pytest.raises(ProblemsFound, match=f"Make the folder {path.parent}, or set listen.grpc to another address"):
        BoundSocket(Address(path=str(path)), 0o600)
