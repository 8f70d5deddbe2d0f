"""Servers out of a process that has imported `modelward serve` already, and has done nothing else: it forks for each.

To import it takes longer than the rest of a start. What a server does from `main` to the end of Python is the same.
"""

from __future__ import annotations

import functools
import gc
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import TextIO

from modelward.tunables import MALLOC_TUNABLES

LARGEST = 2**20  # of what is told of one start
EXIT_CODE_BYTES = 4


class Forked:
    """A server, with what tests use of subprocess.Popen. stdout: what it prints, to stderr too."""

    def __init__(self, words: Sequence[str], environment: dict[str, str]) -> None:
        """words: after `modelward`. environment: all of it."""
        self.returncode: int | None = None
        self._ends, theirs = socket.socketpair()
        read, write = os.pipe()
        self.stdout: TextIO = open(read, encoding="utf-8")  # noqa: SIM115 - the caller closes it
        told = json.dumps({"words": words, "environment": environment, "folder": os.getcwd()}).encode()
        with theirs:
            socket.send_fds(_template()[1], [told], [theirs.fileno(), write])
        os.close(write)
        self.pid = int.from_bytes(self._ends.recv(EXIT_CODE_BYTES), "big")
        assert self.pid, "the template has ended"

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self.returncode is None:
            self._ends.setblocking(False)
            try:
                self._take(self._ends.recv(EXIT_CODE_BYTES))
            except BlockingIOError:
                return None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._ends.settimeout(timeout)
            try:
                self._take(self._ends.recv(EXIT_CODE_BYTES))
            except TimeoutError:
                raise subprocess.TimeoutExpired(f"server {self.pid}", timeout or 0) from None
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _take(self, code: bytes) -> None:
        assert code, f"nobody has seen the end of server {self.pid}"
        self.returncode = int.from_bytes(code, "big", signed=True)
        self._ends.close()


@functools.cache
def _template() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Of this process and its tests; it ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.template", str(theirs.fileno())]
        variables = {**os.environ, "GLIBC_TUNABLES": MALLOC_TUNABLES}  # as `modelward serve` starts itself again
        variables["OPENBLAS_NUM_THREADS"] = "1"  # a fork has no threads but one
        return subprocess.Popen(command, pass_fds=[theirs.fileno()], env=variables), ours


def _serve_forks(asking: socket.socket) -> None:
    """Returns in servers, with what to run in `sys.argv`, and at the end."""
    # the forks have it, the tests do not need it
    from modelward.cli import app, serve  # noqa: F401, PLC0415
    from modelward.models import model_file  # noqa: F401, PLC0415 - the process that reads model files is a fork of it

    gc.freeze()
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, "a fork has the thread that forks, and locks that others held"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the end of watchers
    while True:
        told, descriptors, *_ = socket.recv_fds(asking, LARGEST, 2)
        if not told:
            sys.exit()
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    # a watcher, which tells the pid and the exit code
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asking.close()
    teller, output = descriptors
    if pid := os.fork():
        os.close(output)
        with socket.socket(fileno=teller) as telling:
            telling.sendall(pid.to_bytes(EXIT_CODE_BYTES, "big"))
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            telling.sendall(code.to_bytes(EXIT_CODE_BYTES, "big", signed=True))
        os._exit(0)
    os.close(teller)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    asked = json.loads(told)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"] | {"GLIBC_TUNABLES": MALLOC_TUNABLES})
    sys.argv = ["modelward", *asked["words"]]
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(write_through=True)  # as PYTHONUNBUFFERED does


if __name__ == "__main__":
    _serve_forks(socket.socket(fileno=int(sys.argv[1])))
    from modelward.__main__ import main

    sys.exit(main())
