"""The process that reads model files: it imports onnx and numpy, which no request needs, and a file that it dies of
ends no worker.

`python -m modelward.models` talks over its stdin. Before a server has threads, `fork` makes one that imports while the
server does, and talks to each of the first workers in a fork of its own.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelward import container_memory
from modelward.child import threads
from modelward.defect import as_problem
from modelward.fingerprint import Fingerprint
from modelward.models.artifact import Artifact
from modelward.models.reading import Facts, NoAnswer, Wire, facts_of, problems_of, told
from modelward.problem import Problem, ProblemsFound
from modelward.undumpable import make_undumpable

MEMORY = 2 << 30  # bytes that it may write to, beside these copies of what it was given
COPIES = 6
ROOM = 0.75  # of what the container has left, where that is less: others go on in it meanwhile
HOW = "Use a smaller model, or give the container more memory where it has less than the model needs"
MOST_LOGGED = 64  # lines for one file
LONGEST_LINE = 4096


class Forked:
    """A process that reads model files, for workers that are forked next. It ends with the last of them that has
    something read, or with `end`."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self._pid = pid
        self._control = control

    def channel(self) -> socket.socket | None:
        """To a fork of it that is the caller's, in any process that has inherited this. None where it has ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [b"\1"], [theirs.fileno()])
            except OSError:
                ours.close()
                return None
        return ours

    def end(self) -> None:
        """At once, in the process that forked it."""
        if self._pid:
            self._control.close()
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def fork() -> Forked | None:
    """None from a process with threads, and where the system gives no process."""
    if threads() != 1:
        return None
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = os.fork()
    except OSError:  # told where one is started by exec, and that is refused too
        control.close()
        theirs.close()
        return None
    if pid == 0:
        with suppress(BaseException):
            control.detach()  # the number is closed with all others
            _serve_forks(theirs)
        os._exit(0)
    theirs.close()
    with suppress(OSError):  # it may have done so itself
        os.setpgid(pid, pid)
    return Forked(pid, control)


def _serve_forks(control: socket.socket) -> None:
    """Until all that may ask have ended."""
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with those that ask
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.closerange(3, control.fileno())
    os.closerange(control.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    _import()
    while True:
        asked, descriptors, *_ = socket.recv_fds(control, 1, 1)
        if not asked:
            break
        with socket.socket(fileno=descriptors[0]) as channel:
            if os.fork() == 0:
                control.close()
                serve(channel)
                os._exit(0)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _import() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of numpy, which would start one for each core
    gc.disable()
    import modelward.models.model_file  # noqa: F401, PLC0415 - all that takes time

    gc.freeze()
    gc.enable()


def serve(channel: socket.socket) -> None:
    """Until the other side closes it."""
    make_undumpable()  # it may be given what a sealed file holds
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    lines = _Lines()
    logging.basicConfig(level=logging.INFO, handlers=[lines], force=True)
    wire = Wire(channel)
    with suppress(NoAnswer):
        wire.send({})  # from now on it is undumpable
        while True:
            asked, data = wire.receive()
            answer, changed = _Checking(wire, asked, data).answer()
            wire.send({**answer, "lines": lines.taken()}, changed)
            signal.alarm(0)


class _Checking:
    """Of one file."""

    def __init__(self, wire: Wire, asked: Facts, data: bytes) -> None:
        self._wire = wire
        self._asked = asked
        self._data = data
        self._given = self._most = 0
        self._allow(data)

    def answer(self) -> tuple[Facts, bytes]:
        asked, file, data = self._asked, Path(self._asked["file"]), self._data
        seen: Any = tuple(None if each is None else tuple(each) for each in asked["fingerprint"])
        try:
            with as_problem(asked["where"]):
                artifact = self._check(Path(asked["root"]), file, seen)
        except ProblemsFound as found:
            return {"problems": told(found.problems)}, b""
        is_same = artifact.data is data
        return {"artifact": facts_of(artifact), "same": is_same}, b"" if is_same else artifact.data

    def _check(self, root: Path, file: Path, seen: Fingerprint) -> Artifact:
        from modelward.models.model_file import check  # noqa: PLC0415 - by no other process

        try:
            content = self._data, self._asked["sha256"]
            return check(root, file, content, seen, self._read, scan=self._asked["scan"])
        except MemoryError:
            what, why = "the model takes too much memory to be checked", f"it may take {self._most >> 20} MiB here"
            raise ProblemsFound([Problem(what, str(file), why, HOW)]) from None

    def _read(self, root: Path, path: Path, largest: int) -> tuple[bytes, str]:
        """The one that asks knows whether the file is the one that was signed, and how to unseal it."""
        self._wire.send({"wants": str(path), "most": largest})
        signal.alarm(0)
        answer, data = self._wire.receive()
        self._allow(data)
        if "problems" in answer:
            raise ProblemsFound(problems_of(answer["problems"]))
        return data, answer["sha256"]

    def _allow(self, data: bytes) -> None:
        """Time until the next message, and memory for what it was given."""
        signal.alarm(self._asked["seconds"])
        self._given += len(data)
        if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # whose own tables count as data, and are terabytes
            most, (_, hard) = MEMORY + COPIES * self._given, resource.getrlimit(resource.RLIMIT_DATA)
            if (room := container_memory.room()) is not None:
                most = min(most, _own() + int(ROOM * room))
            self._most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (self._most, hard))


def _own() -> int:
    """Bytes of this process that count as data."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


class _Lines(logging.Handler):
    """What is logged, for the log of the process that asks."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._kept) < MOST_LOGGED:
            self._kept.append((record.name, record.levelno, self.format(record)[:LONGEST_LINE]))

    def taken(self) -> list[tuple[str, int, str]]:
        kept, self._kept = self._kept, []
        return kept


def main() -> None:
    with socket.socket(fileno=os.dup(0)) as channel:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        _import()
        serve(channel)
    os._exit(0)
