"""How malloc is set for the processes of a server. The C library reads it when a process is started by exec."""

import os
import sys

# Blocks of each size up to 512 bytes that a thread keeps for itself. A batch of requests frees more at once than the C
# library's 7, and the slow path behind them cost 4 % of a request's CPU. Bounded by 1 MiB a thread.
MALLOC_TUNABLES = "glibc.malloc.tcache_count=127:glibc.malloc.tcache_max=512"

AGAIN = "MODELWARD_STARTED_AGAIN"
"""Variable of a process that has started itself again, until it has seen it."""


notes: list[str] = []
"""What is to be said once there is a log."""


def tuned(tunables: str) -> str:
    """Of GLIBC_TUNABLES, as it is, what it is to be: what the operator says of the same tunable is last, and wins."""
    if tunables.startswith(MALLOC_TUNABLES):
        return tunables
    return ":".join(filter(None, (MALLOC_TUNABLES, tunables)))


def exec_tuned() -> None:
    """Starts this process again with MALLOC_TUNABLES, where it has not been: its workers may be forks of it. Once: the
    loader takes the variable from a program with capabilities of its own."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    is_again = os.environ.pop(AGAIN, None) is not None
    if tuned(tunables) != tunables and sys.orig_argv and not is_again:
        try:
            os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": tuned(tunables), AGAIN: "1"})
        except OSError as error:
            notes.append(f"malloc keeps its usual settings: {sys.executable} cannot be started again: {error.strerror}")
