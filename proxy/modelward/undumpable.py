"""A process whose memory is kept from disks and from other processes of its user."""

import ctypes
import os
import resource
from functools import cache

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4  # linux/prctl.h


@cache
def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def make_undumpable() -> None:
    """From now on this process and its forks leave no core file, and no process of the same user can read their memory
    or their environment (/proc/PID/mem, environ, ptrace). Raises OSError."""
    # a core_pattern that is a pipe does not heed the limit; the kernel always heeds the attribute
    if libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def is_dumpable() -> bool:
    return bool(libc().prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1)
