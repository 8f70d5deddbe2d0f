"""Processes that a load test starts, measures and ends; each is known by its own id and nothing else is touched."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

END_SECONDS = 15.0
PROC = Path("/proc")


class Ended(RuntimeError):
    """The process ended, or never did what was waited for; its last output is in the message."""


class Process:
    """A child process with its output in a file."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self.name = name
        self._popen = popen
        self._output = output

    @property
    def pid(self) -> int:
        return self._popen.pid

    def check(self, wait_seconds: float = 0.0) -> None:
        """Raises Ended if the process ends within `wait_seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._popen.wait(wait_seconds)
            raise Ended(f"{self.name} ended with code {code}:\n{self.tail()}")

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended by itself. Raises subprocess.TimeoutExpired."""
        return self._popen.wait(seconds)

    def output(self) -> str:
        """All that it has written so far."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")  # its own place in the file stays

    def tail(self, lines: int = 60) -> str:
        self._output.seek(0)
        return b"\n".join(self._output.read().splitlines()[-lines:]).decode(errors="replace")

    def cpu_ns(self) -> int:
        return cpu_ns(self.pid)

    def resident_bytes(self) -> int:
        return sum(resident_bytes(pid) for pid in tree(self.pid))

    def end(self) -> None:
        """SIGTERM, then SIGKILL to what is left of the tree once the process has ended or END_SECONDS have passed."""
        with contextlib.ExitStack() as stack:
            family = []
            for pid in tree(self.pid)[1:]:
                with contextlib.suppress(ProcessLookupError):
                    # a handle and not a number, which may have been given to somebody else by then
                    family.append(os.pidfd_open(pid))
                    stack.callback(os.close, family[-1])
            self._popen.terminate()
            try:
                self._popen.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
            for handle in family:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                ended = select.poll()
                ended.register(handle, select.POLLIN)
                ended.poll(END_SECONDS * 1e3)


@contextlib.contextmanager
def started(name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Runs `command` with `environment` on top of ours; ended on leaving, whatever happens."""
    with tempfile.TemporaryFile() as output:
        popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        process = Process(name, popen, output)
        try:
            yield process
        finally:
            process.end()


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir(PROC)):
        with contextlib.suppress(OSError):  # it ended between listing and reading
            # the command's name stands in parentheses and may hold any character
            parent = int((PROC / entry / "stat").read_text().rpartition(") ")[2].split()[1])
            children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_ns(pid: int) -> int:
    """CPU time of `pid` and its descendants so far, in ns, as the scheduler counts it.

    The clock ticks of /proc/PID/stat are 10 ms; schedstat counts nanoseconds. Threads that have ended are not in it, so
    a contestant that starts one per request cannot be measured this way.
    """
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for thread in (PROC / str(one) / "task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
    return total


def waited_ns(pid: int) -> int:
    """Time that the main thread of `pid` was ready to run so far, and no core was free; 0 once it has ended."""
    try:
        return int((PROC / str(pid) / "schedstat").read_text().split()[1])
    except OSError:
        return 0


def resident_bytes(pid: int) -> int:
    """Resident set of one process; 0 once it has ended."""
    try:
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize()


def free_ports(count: int) -> list[int]:
    """Different loopback ports that no process listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def allow_files(wanted: int) -> int:
    """Raises this process's limit of open files (children inherit it) towards `wanted`; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError):  # only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
