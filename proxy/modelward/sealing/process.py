"""What is done to a process before it opens anything sealed.

Opened weights lie in many places: in the buffer that they are decrypted into, in protobuf's, in ONNX Runtime's. So the
whole process is guarded, not one buffer of it.
"""

import contextlib
import ctypes
import logging
import os
import resource
from functools import cache
from pathlib import Path

from modelward.undumpable import libc, make_undumpable

log = logging.getLogger("modelward.sealing")

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # sys/mman.h
CAP_IPC_LOCK = 14  # linux/capability.h

SWAPS = Path("/proc/swaps")
STATUS = Path("/proc/self/status")


def seclude() -> None:
    """Once per process: no core file, no other reader, and no swap where that is allowed."""
    _seclude(os.getpid())  # a fork inherits no locks on memory


@cache
def _seclude(pid: int) -> None:
    make_undumpable()
    if not swap_is_on(SWAPS):
        return
    if may_lock(STATUS) and libc().mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0:
        return
    log.warning(
        "sealed models are opened in memory that may be written to swap, since this process may not lock it: allow it "
        "(LimitMEMLOCK=infinity, CAP_IPC_LOCK), or let it have no swap (MemorySwapMax=0)"
    )


def swap_is_on(swaps: Path) -> bool:
    """Whether pages may be written to a disk. True where that is not known."""
    try:
        return len(swaps.read_text().splitlines()) > 1  # below a heading
    except OSError:
        return True


def may_lock(status: Path) -> bool:
    """All memory, whatever it comes to: with a limit, a later allocation would fail."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    with contextlib.suppress(OSError, ValueError, StopIteration):  # then it may not
        effective = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
        return bool(int(effective.split()[1], 16) >> CAP_IPC_LOCK & 1)
    return False


def take_variable(name: str) -> str | None:
    """Its value, which is then gone from the environment of this process and of those that it starts.

    /proc/PID/environ shows the memory that the process was started with, which is overwritten.
    """
    value = os.environ.get(name)
    if value is None:
        return None
    getenv = libc().getenv
    getenv.restype = ctypes.c_void_p
    if address := getenv(os.fsencode(name)):
        ctypes.memset(address, 0, len(os.fsencode(value)))
    del os.environ[name]
    return value
