"""What end-to-end tests share: servers in this process and in one of their own, and waiting without sleeping."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from modelward.config.load import load
from modelward.server.app import Application
from modelward.server.embedded import in_thread
from tests.models import repository
from tests.template import Forked

T = TypeVar("T")

ANYWHERE = {"listen.grpc": "127.0.0.1:0", "listen.http": "127.0.0.1:0"}
START_SECONDS = 120.0  # of a machine that does much else
RELOAD_SECONDS = 60.0
LONGEST_PAUSE = 0.1
_GRPC_LINE = re.compile(r"^gRPC\s+(\S+)$")
_ADMIN_LINE = re.compile(r"^admin\s+(\S+)$")
_HTTP_LINE = re.compile(r"^metrics\s+http://(\S+)/metrics ")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """The first true result of `condition`; fails with `what` when the time is up.

    It is asked every few milliseconds at first. The longer it takes to come true or to be asked, the less often: what
    is waited for needs the processor too.
    """
    began = asked = time.monotonic()
    pause = threading.Event()
    while not (result := condition()):
        now = time.monotonic()
        assert now < began + seconds, f"waited {seconds:.0f} s for: {what}"
        pause.wait(min(max(0.005, 2 * (now - asked), (now - began) / 20), LONGEST_PAUSE))
        asked = time.monotonic()
    return result


@dataclass
class Server:
    """Where a running server listens, and what it says over HTTP."""

    grpc: str
    http: str

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a GET."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of `name` with these labels; 0 where there is none."""
        # only what may be meant is parsed: the whole page would take three times as long as having it
        lines = [line for line in self.page("/metrics")[1].splitlines(keepends=True) if line.startswith(name)]
        return sum(
            sample.value
            for family in text_string_to_metric_families("".join(lines))
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@dataclass
class EmbeddedServer(Server):
    """A server on a thread of this process."""

    application: Application


@contextlib.contextmanager
def serving(root: Path, models: Mapping[str, bytes | dict[int, bytes]], **settings: Any) -> Iterator[EmbeddedServer]:
    """Serves `models` (as tests.models.repository takes them) from the folder `root`.

    settings: values of --set with "__" for the dot, for example limits__peer={"rate": "5/s"}.
    """
    with in_thread(load(sets=_sets(repository(root, models), settings), environ={})) as application:
        yield EmbeddedServer(str(application.grpc_address), str(application.http_address), application)


def _sets(root: Path, settings: dict[str, Any]) -> list[str]:
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return [f"{key}={value}" for key, value in (_places(root) | dotted).items()]


def _places(root: Path) -> dict[str, Any]:
    """What it serves, and where it listens and keeps what outlives it: nothing in the working folder."""
    return {"repository": root, "state": f"{root}-state"} | ANYWHERE


@dataclass
class Reloadable(EmbeddedServer):
    """A server and the settings it was started with, which `reload` changes."""

    sets: dict[str, Any]

    def reload(self, **settings: Any) -> list[str]:
        """Changes settings (None takes one away), and returns what the server says that changed."""
        self.sets |= {key.replace("__", "."): value for key, value in settings.items()}
        config = load(sets=[f"{key}={value}" for key, value in self.sets.items() if value is not None], environ={})
        assert self.application.loop is not None
        return asyncio.run_coroutine_threadsafe(self.application.serving.reload(config), self.application.loop).result(
            RELOAD_SECONDS
        )


@contextlib.contextmanager
def reloadable(root: Path, models: Mapping[str, bytes | dict[int, bytes]], **settings: Any) -> Iterator[Reloadable]:
    sets = _places(repository(root, models))
    sets |= {key.replace("__", "."): value for key, value in settings.items()}
    with in_thread(load(sets=[f"{key}={value}" for key, value in sets.items()], environ={})) as application:
        yield Reloadable(str(application.grpc_address), str(application.http_address), application, sets)


@dataclass
class ServerProcess(Server):
    """A `modelward serve`. output: its lines so far; baseline: resident bytes, for tests to note; admin: address."""

    process: subprocess.Popen[str] | Forked
    output: list[str] = field(default_factory=list)
    baseline: int = 0
    admin: str = ""

    def workers(self) -> list[int]:
        """Their process ids."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def signal_all(self, number: int) -> None:
        """The supervisor first, so that it does not replace the workers."""
        family = (self.process.pid, *self.workers())
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def resident_bytes(self) -> int:
        """Of the supervisor and its workers."""
        pages = sum(
            int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (self.process.pid, *self.workers())
        )
        return pages * os.sysconf("SC_PAGE_SIZE")

    def terminate(self, seconds: float = 30.0) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextlib.contextmanager
def serve_process(
    *arguments: str | Path,
    environment: dict[str, str] | None = None,
    launcher: Sequence[str] = (),
    descriptors: Sequence[int] = (),
) -> Iterator[ServerProcess]:
    """Starts `modelward serve ARGUMENTS` on free ports and waits for its READY table; ends it on leaving.

    launcher: a command that turns itself into the one that follows it. descriptors: that it inherits. With one of these
    or an environment Python is started; else the server is forked by `tests.template`.
    """
    with _launched(arguments, environment, launcher, descriptors) as server:
        _wait_until_ready(server)
        yield server


@contextlib.contextmanager
def serve_processes(*servers: Sequence[str | Path]) -> Iterator[list[ServerProcess]]:
    """As serve_process with each of these arguments; they start at once, since a start is one process after another."""
    with contextlib.ExitStack() as stack:
        launched = [stack.enter_context(_launched(arguments)) for arguments in servers]
        for server in launched:
            _wait_until_ready(server)
        yield launched


@contextlib.contextmanager
def _launched(
    arguments: Sequence[str | Path],
    environment: dict[str, str] | None = None,
    launcher: Sequence[str] = (),
    descriptors: Sequence[int] = (),
) -> Iterator[ServerProcess]:
    words = ["serve", "--grpc-port", "0", "--http-port", "0", "--set", "listen.admin=127.0.0.1:0", *map(str, arguments)]
    kept = tempfile.TemporaryDirectory(prefix="modelward-state-")  # of servers that are given no folder
    variables = {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "STATE_DIRECTORY": kept.name}
    process: subprocess.Popen[str] | Forked
    if launcher or descriptors or environment:
        process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "modelward", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=descriptors,
            env=variables | (environment or {}),
        )
    else:
        process = Forked(words, variables)
    server = ServerProcess("", "", process)
    reader = threading.Thread(target=_read, args=(process, server.output), daemon=True)
    reader.start()
    try:
        yield server
    finally:
        if process.poll() is None:
            server.signal_all(signal.SIGKILL)
        process.wait()
        reader.join(10)
        kept.cleanup()
        if process.stdout is not None:
            process.stdout.close()


def _wait_until_ready(server: ServerProcess) -> None:
    wait_until(lambda: _addresses(server) or server.process.poll() is not None, "READY", START_SECONDS)
    assert server.process.poll() is None, "".join(server.output)


def _read(process: subprocess.Popen[str] | Forked, output: list[str]) -> None:
    assert process.stdout is not None
    output.extend(iter(process.stdout.readline, ""))


def _addresses(server: ServerProcess) -> bool:
    for line in list(server.output):
        if '"message": "READY"' in line:
            told = json.loads(line)["fields"]
            server.grpc, server.http, server.admin = told["grpc"], told["http"], told.get("admin", "")
        elif found := _GRPC_LINE.match(line.strip()):
            server.grpc = found[1]
        elif found := _HTTP_LINE.match(line.strip()):
            server.http = found[1]
        elif found := _ADMIN_LINE.match(line.strip()):
            server.admin = found[1]
    return bool(server.grpc and server.http)


class Manager:
    """A service manager's end of NOTIFY_SOCKET. heard: the variables of each message, in the order they came."""

    def __init__(self, address: str) -> None:
        """address: as NOTIFY_SOCKET has it, a path or an abstract address."""
        self.address = address
        self.heard: list[dict[str, str]] = []
        self._waited = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0"))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def wait_for(self, variable: str) -> dict[str, str]:
        """The first message with this variable after the one that was waited for last."""

        def found() -> dict[str, str] | None:
            for i, message in enumerate(self.heard[self._waited :], self._waited + 1):
                if variable in message:
                    self._waited = i
                    return message
            return None

        message = wait_until(found, f"{variable} after {self.heard[: self._waited]}", START_SECONDS)
        assert message is not None
        return message

    def catch_up(self) -> None:
        """Until everything that has been said so far is in `heard`, and a message of its own."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as said:
            said.sendto(b"CAUGHT_UP=1", self.address.replace("@", "\0"))
        self.wait_for("CAUGHT_UP")

    def close(self) -> None:
        self._socket.sendto(b"", self.address.replace("@", "\0"))
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self.heard.append(dict(line.split("=", 1) for line in message.decode().splitlines()))
