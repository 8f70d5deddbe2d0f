"""The first workers, forked before the supervisor starts anything: what is imported is in memory once for all of them.

Each waits for what it is to inherit, and then becomes a worker. Workers that take their place later are started by
exec: the supervisor has threads by then, and a fork of it would have locks that no thread releases, and all that it
knows. A process kept for later forks would cost what it saves: it holds the first state of each page that others write.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from modelward.child import threads
from modelward_native.region.heap import trim

# what the process was started with, whatever it has changed since
STARTED_WITH = Path("/proc/self/environ")
NAME = Path("/proc/self/comm")
DESCRIPTORS = 3  # of a worker: region, listener, channel
_NUMBER = struct.Struct("!i")


class Reader(Protocol):
    """As modelward.models.reader_process.Forked."""

    def channel(self) -> socket.socket | None: ...


class Preforked:
    """A process that becomes a worker. Its parent is this process."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self._control = control

    def begin(self, number: int, descriptors: Sequence[int]) -> bool:
        """number: of its part of the region. descriptors: as modelward.server.worker takes them. False where it has
        ended meanwhile."""
        try:
            with self._control:
                socket.send_fds(self._control, [_NUMBER.pack(number)], descriptors)
        except OSError:
            self.wait()
            return False
        return True

    def wait(self) -> int:
        """Blocks until it has ended; its exit code, or the number of the signal below zero."""
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # somebody else has waited for it: as subprocess has it
            return 0

    def end(self) -> None:
        """It has not begun, and is not needed."""
        self._control.close()
        self.wait()


def prefork(
    count: int,
    tunables: str,
    prepare: Callable[[], None],
    ours: Sequence[socket.socket],
    reader: Reader | None = None,
) -> list[Preforked]:
    """So many of them; fewer where the system gives no more, and none where this process has threads, or malloc does
    not heed `tunables`: exec is better then.

    prepare: called in each, while it has nothing to do. ours: sockets that are this process's alone. reader: of model
    files, to which each has a channel.
    """
    if count < 1 or not can_fork(tunables):
        return []
    from modelward.server import worker  # noqa: PLC0415 - nothing that is not shared needs it

    gc.collect()
    gc.freeze()  # a collection would write to every object, and so end the sharing of its page
    trim()
    made: list[Preforked] = []
    for _ in range(count):
        control, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        try:
            pid = os.fork()
        except OSError:  # told where a worker is started by exec, and that is refused too
            control.close()
            theirs.close()
            break
        if pid == 0:
            for each in (control, *(one._control for one in made), *ours):
                each.detach()  # the number is closed with all others, and may be another file's later
            _become_worker(theirs, prepare, worker.main, reader)
        theirs.close()
        made.append(Preforked(pid, control))
    return made


def can_fork(tunables: str) -> bool:
    """Whether workers may be forks of this process, as it is now."""
    return is_tuned(tunables) and threads() == 1


def is_tuned(tunables: str) -> bool:
    """Whether malloc heeds these: it reads them when a process is started by exec."""
    try:
        return f"GLIBC_TUNABLES={tunables}".encode() in STARTED_WITH.read_bytes()
    except OSError:
        return False


def _become_worker(
    control: socket.socket, prepare: Callable[[], None], main: Callable[[Sequence[str]], int], reader: Reader | None
) -> None:
    """Never returns."""
    code = 1
    try:
        channel = reader.channel() if reader is not None else None
        read = [str(channel.detach())] if channel is not None else []
        arguments = _wait(control, prepare, [*map(int, read)])
        code = main([*arguments, *read]) if arguments else 0
    except BaseException:  # noqa: BLE001 - nothing above this is the worker's
        traceback.print_exc()
    with suppress(BaseException):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # what the supervisor has under way further up the stack is not the worker's to end


def _wait(control: socket.socket, prepare: Callable[[], None], kept: Sequence[int]) -> list[str]:
    """For the supervisor; empty where it has ended without. kept: descriptors, beside that of control."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as modelward.server.worker
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    open_ones = sorted((2, control.fileno(), *kept, os.sysconf("SC_OPEN_MAX")))
    for low, high in pairwise(open_ones):
        os.closerange(low + 1, high)
    prepare()
    with control:
        told, descriptors, *_ = socket.recv_fds(control, _NUMBER.size, DESCRIPTORS)
    if not told:
        return []
    (number,) = _NUMBER.unpack(told)
    with suppress(OSError):
        NAME.write_text(f"mw-worker-{number}")
    return [*map(str, (number, *descriptors))]
