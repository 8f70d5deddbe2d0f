"""Servers out of a process that has imported `modelward serve` already, and has done nothing else: it forks for each.

To import it takes longer than the rest of a start. What a server does from `main` to the end of Python is the same. Its
configuration is read by a fork of another such process, in place of a child that is started by exec
(tests/proxy/config/test_reading.py has that one).
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, TextIO

from modelward.child import Bounds
from modelward.config import unchecked
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


class ForkedReader:
    """In place of modelward.child.Child, where a server reads its configuration."""

    asking: ClassVar[socket.socket]
    """A process that has imported what reads it."""

    def __init__(self, bounds: Bounds, function: Callable[..., Any], *arguments: Any, secret: bool = True) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.asking, [b"read"], [theirs.fileno()])
        self._channel.settimeout(bounds.seconds)
        self._channel.sendall(pickle.dumps((os.getcwd(), dict(os.environ), function, arguments)))
        self._channel.shutdown(socket.SHUT_WR)

    def result(self) -> Any:
        with self._channel, self._channel.makefile("rb") as told:
            ok, result = pickle.load(told)
        if not ok:
            raise result
        return result

    def end(self) -> None:
        self._channel.close()

    @classmethod
    def begin(cls) -> None:
        cls.asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork():
            theirs.close()
            return
        cls.asking.close()
        from modelward.config import from_arguments  # noqa: F401, PLC0415 - the forks have it

        gc.freeze()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while descriptors := socket.recv_fds(theirs, LARGEST, 1)[1]:
            if os.fork() == 0:
                _read(socket.socket(fileno=descriptors[0]))
            os.close(descriptors[0])
        os._exit(0)


def _read(channel: socket.socket) -> NoReturn:
    with channel.makefile("rb") as asked:
        folder, environment, function, arguments = pickle.load(asked)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        result: tuple[bool, Any] = True, function(*arguments)
    except Exception as error:  # noqa: BLE001 - raised by the server
        result = False, error
    with contextlib.suppress(BrokenPipeError):  # its result was not wanted
        channel.sendall(pickle.dumps(result))
    os._exit(0)


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
    ForkedReader.begin()
    unchecked.choose()
    # the forks have it, the tests do not need it
    from modelward.cli import app, serve, serving  # noqa: F401, PLC0415
    from modelward.config import reading  # noqa: PLC0415
    from modelward.models import model_file  # noqa: F401, PLC0415 - the process that reads model files is a fork of it

    setattr(reading, "Child", ForkedReader)  # noqa: B010 - a class in place of another

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
