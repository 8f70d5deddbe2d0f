"""A Redis or Valkey of a test's own, which it may stop, kill and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import wait_until

KINDS = ("valkey-server", "redis-server")
HOW = "apt-get install valkey-server, or redis-server"


class Store:
    """On a Unix socket, or over TCP on a port that was free. Nothing of it is kept on disk."""

    def __init__(self, program: str, folder: Path, *, tcp: bool = False, password: str = "") -> None:
        self._program = program
        self._socket = folder / "store.sock"
        self._port = _free_port() if tcp else 0
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        secret = f":{password}@" if password else ""
        self.url = f"redis://{secret}127.0.0.1:{self._port}/0" if tcp else f"unix://{secret}{self._socket}"

    def start(self) -> None:
        """Returns when it answers."""
        where = ["--port", str(self._port)] if self._port else ["--port", "0", "--unixsocket", str(self._socket)]
        secret = ["--requirepass", self._password] if self._password else []
        command = [self._program, *where, *secret, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        # a sanitizer that is preloaded for our own code breaks its allocator
        plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self._socket.parent, env=plain)
        wait_until(self._answers, f"{self._program} to answer")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), self.connected() as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False

    def connected(self) -> socket.socket:
        if self._port:
            return socket.create_connection(("127.0.0.1", self._port), timeout=5)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        connection.connect(str(self._socket))
        return connection

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


def program() -> str:
    """The first that is installed."""
    for name in KINDS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"neither {KINDS[0]} nor {KINDS[1]} is installed: {HOW}")


@contextlib.contextmanager
def running(folder: Path, *, tcp: bool = False, password: str = "") -> Iterator[Store]:
    store = Store(program(), folder, tcp=tcp, password=password)
    store.start()
    try:
        yield store
    finally:
        store.kill()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
