"""Sockets that somebody else has opened: which is which, and what is said where that cannot be known."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelward.problem import ProblemsFound
from modelward.supervisor import activation
from modelward.supervisor.activation import Sockets, inherited_sockets

# 3 is somebody else's in this process, and a socket that was refused is closed at any time
firsts = itertools.count(200, 10)


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Passed]:
    passed = Passed(next(firsts))
    monkeypatch.setattr(activation, "FIRST_DESCRIPTOR", passed.first)
    yield passed
    passed.close()


class Passed:
    """Descriptors from `first` on, each of a socket, and the environment that tells of them."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.environ: dict[str, str] = {"LISTEN_PID": str(os.getpid()), "OTHER": "stays"}
        self._next = first

    def add(self, sock: socket.socket) -> tuple[str, int]:
        with sock:
            assert fcntl.fcntl(sock, fcntl.F_DUPFD, self._next) == self._next
            self._next += 1
            return sock.getsockname()[:2] if sock.family != socket.AF_UNIX else (sock.getsockname(), 0)

    def take(self, names: str | None = None) -> Sockets:
        self.environ["LISTEN_FDS"] = str(self._next - self.first)
        if names is not None:
            self.environ["LISTEN_FDNAMES"] = names
        return inherited_sockets(self.environ)

    def problem(self, names: str | None = None) -> str:
        with pytest.raises(ProblemsFound) as found:
            self.take(names)
        return str(found.value)

    def close(self) -> None:
        for descriptor in range(self.first, self._next):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_sockets_are_known_by_their_names(passed: Passed) -> None:
    grpc, metrics = passed.add(listening()), passed.add(listening())
    sockets = passed.take("grpc:metrics")
    assert {key: (each.address.host, each.address.port) for key, each in sockets.items()} == {
        "grpc": grpc,
        "http": metrics,
    }
    assert not any(each.socket.get_inheritable() for each in sockets.values())


@pytest.mark.parametrize("name", [None, "unknown", "modelward.socket"])
def test_a_single_one_without_a_name_is_grpc(passed: Passed, name: str | None) -> None:
    passed.add(listening())
    assert list(passed.take(name)) == ["grpc"]


def test_a_unix_socket_is_known_by_its_path(passed: Passed, tmp_path: Path) -> None:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "s"))
    bound.listen()
    passed.add(bound)
    assert str(passed.take("grpc")["grpc"].address) == f"unix:{tmp_path}/s"


def test_the_variables_are_taken_out_of_the_environment(passed: Passed) -> None:
    passed.add(listening())
    passed.take("grpc")
    assert passed.environ == {"OTHER": "stays"}


def test_what_is_meant_for_another_process_is_left_alone(passed: Passed) -> None:
    passed.environ["LISTEN_PID"] = str(os.getpid() + 1)
    passed.add(listening())
    assert passed.take("grpc") == {}
    assert passed.environ == {"OTHER": "stays"}


@pytest.mark.parametrize(("names", "told"), [("grpc:ftp", "inherited socket 'ftp'"), (":", "FileDescriptorName=")])
def test_a_socket_that_nothing_listens_on_is_told(passed: Passed, names: str, told: str) -> None:
    passed.add(listening())
    passed.add(listening())
    assert told in passed.problem(names)


def test_two_of_one_name_are_told(passed: Passed) -> None:
    passed.add(listening())
    passed.add(listening())
    assert "two sockets are http" in passed.problem("metrics:http")


def test_names_and_sockets_must_be_as_many(passed: Passed) -> None:
    passed.add(listening())
    assert "as many names as sockets" in passed.problem("grpc:http")


def test_a_descriptor_that_is_not_there_is_told(passed: Passed) -> None:
    passed.environ |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "grpc"}
    with pytest.raises(ProblemsFound, match="is no socket"):
        inherited_sockets(passed.environ)


@pytest.mark.parametrize("kind", ["datagram", "connected", "not listening"])
def test_a_socket_of_another_kind_is_told(passed: Passed, kind: str) -> None:
    made = {
        "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "connected": lambda: socket.socketpair()[0],
        "not listening": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    }
    passed.add(made[kind]())
    assert "not a stream socket that listens" in passed.problem("grpc")


def test_an_abstract_unix_socket_is_refused(passed: Passed) -> None:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(f"\0modelward-test-{os.getpid()}")
    bound.listen()
    passed.add(bound)
    assert "anybody may connect" in passed.problem("grpc")
