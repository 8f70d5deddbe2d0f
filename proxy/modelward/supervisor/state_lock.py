"""A state folder is one server's: another that starts with it is refused, or they would overwrite each other's state.

The lock is flock's. It ends with the process, however that ends, and holds across machines where the file system has
such locks. Children do not have its descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelward.config.state_folder import VARIABLE, state_folder
from modelward.problem import Problem, ProblemsFound

FILE = "server.lock"
HELD = (errno.EAGAIN, errno.EACCES)
LONGEST = 512
"""Bytes of the file that are read."""
HOLDER = re.compile(rb"(\d{1,10}) ([\w.-]{1,255})\n")
HOW = f"End it, or give this one another folder: --set state=DIR or {VARIABLE}"

log = logging.getLogger("modelward.supervisor")


@contextmanager
def locked(configured: Path | None) -> Iterator[None]:
    """As long as the server runs. configured: `state`. Raises ProblemsFound where another process has the folder.

    The hidden folder of the working one, which stands in for one that was given, is taken without a lock: the log says
    so. So is a folder on a file system without locks, or one that cannot be written, where nothing is kept.
    """
    folder = state_folder(configured)
    is_given = configured is not None or bool(os.environ.get(VARIABLE))
    handle = _opened(folder, is_given)
    if handle is None:
        yield
        return
    try:
        _lock(handle, folder, is_given)
        yield
    finally:
        os.close(handle)


def _opened(folder: Path, is_given: bool) -> int | None:
    try:
        if is_given:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError:
        return None  # READY says that the folder cannot be written


def _lock(handle: int, folder: Path, is_given: bool) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in HELD:
            log.warning("%s cannot be locked, so that a second server is not noticed: %s", folder, error.strerror)
            return
        what = f"another server keeps its state here{_holder(handle)}"
        problem = Problem(what, str(folder), "what one writes the other would overwrite", HOW)
        if is_given:
            raise ProblemsFound([problem]) from None
        log.warning("%s", problem)
        return
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)


def _holder(handle: int) -> str:
    """Which process it says it is; empty where that cannot be told."""
    with suppress(OSError):
        if found := HOLDER.fullmatch(os.pread(handle, LONGEST, 0)):
            pid, host = (each.decode() for each in found.groups())
            return f": process {pid}" + ("" if host == socket.gethostname() else f" on {host}")
    return ""
