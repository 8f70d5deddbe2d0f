"""One of the other servers: prepared once, started as often as wanted."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import grpc

from loadtests.tools.process import Process, free_ports, tree
from tests.e2e.messages import Stub
from tests.support import wait_until

START_SECONDS = 60.0


@dataclass
class Peer:
    """A server that runs. models: (name, version) of what it serves, "" where it has no versions."""

    address: str
    process: Process

    def kill(self) -> None:
        """kill -9, its helpers too."""
        for pid in tree(self.process.pid):
            with contextlib.suppress(ProcessLookupError):  # it went with its parent
                os.kill(pid, signal.SIGKILL)


Start = Callable[[int], AbstractContextManager[Process]]


@dataclass(frozen=True)
class Kind:
    """prepare(folder) makes what the server needs in a folder of its own; it may raise Absent.

    models: every version that it serves, "" where it has none.
    """

    name: str
    prepare: Callable[[Path], Start]
    models: tuple[tuple[str, str], ...]


@contextlib.contextmanager
def running(start: Start, port: int = 0) -> Iterator[Peer]:
    """The server, once all its models are loaded."""
    port = port or free_ports(1)[0]
    with start(port) as process, Stub(f"127.0.0.1:{port}") as stub:
        wait_until(lambda: _loaded(stub, process), "a server with its models", START_SECONDS)
        yield Peer(f"127.0.0.1:{port}", process)


def _loaded(stub: Stub, process: Process) -> bool:
    process.check()
    try:
        return bool(stub.ask("ModelReady", name="add").ready)
    except grpc.RpcError:
        return False
