"""What end-to-end tests share: servers in this process and in one of their own, and waiting without sleeping."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from proxy.config.load import load
from proxy.server.app import Application
from proxy.server.embedded import in_thread
from tests.models import repository

T = TypeVar("T")

ANYWHERE = {"listen.grpc": "127.0.0.1:0", "listen.http": "127.0.0.1:0"}
START_SECONDS = 60.0
_GRPC_LINE = re.compile(r"^gRPC\s+(\S+)$")
_HTTP_LINE = re.compile(r"^metrics\s+http://(\S+)/metrics ")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 15.0) -> T:
    """The first true result of `condition`, asked every few milliseconds; fails with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for: {what}"
        pause.wait(0.005)
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
        families = text_string_to_metric_families(self.page("/metrics")[1])
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@dataclass
class EmbeddedServer(Server):
    """A server on a thread of this process."""

    application: Application


@contextlib.contextmanager
def serving(root: Path, models: dict[str, bytes | dict[int, bytes]], **settings: Any) -> Iterator[EmbeddedServer]:
    """Serves `models` (as tests.models.repository takes them) from the folder `root`.

    settings: values of --set with "__" for the dot, for example limits__peer={"rate": "5/s"}.
    """
    with in_thread(load(sets=_sets(repository(root, models), settings), environ={})) as application:
        yield EmbeddedServer(str(application.grpc_address), str(application.http_address), application)


def _sets(root: Path, settings: dict[str, Any]) -> list[str]:
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return [f"{key}={value}" for key, value in ({"repository": root} | ANYWHERE | dotted).items()]


@dataclass
class ServerProcess(Server):
    """A real `modelward serve`. output: its lines so far; baseline: resident bytes, for tests to note."""

    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)
    baseline: int = 0

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
def serve_process(*arguments: str | Path, environment: dict[str, str] | None = None) -> Iterator[ServerProcess]:
    """Starts `modelward serve ARGUMENTS` on free ports and waits for its READY table; ends it on leaving."""
    command = [sys.executable, "-m", "proxy", "serve", "--grpc-port", "0", "--http-port", "0", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **(environment or {})},
    )
    server = ServerProcess("", "", process)
    reader = threading.Thread(target=_read, args=(process, server.output), daemon=True)
    reader.start()
    try:
        wait_until(lambda: _addresses(server) or process.poll() is not None, "READY", START_SECONDS)
        assert process.poll() is None, "".join(server.output)
        yield server
    finally:
        if process.poll() is None:
            server.signal_all(signal.SIGKILL)
        process.wait()
        reader.join(10)
        if process.stdout is not None:
            process.stdout.close()


def _read(process: subprocess.Popen[str], output: list[str]) -> None:
    assert process.stdout is not None
    output.extend(iter(process.stdout.readline, ""))


def _addresses(server: ServerProcess) -> bool:
    for line in list(server.output):
        if found := _GRPC_LINE.match(line.strip()):
            server.grpc = found[1]
        elif found := _HTTP_LINE.match(line.strip()):
            server.http = found[1]
    return bool(server.grpc and server.http)
