"""How malloc is set for the processes of a server. The C library reads it when a process is started by exec."""

import os
import sys

# Blocks of each size up to 512 bytes that a thread keeps for itself. A batch of requests frees more at once than the C
# library's 7, and the slow path behind them cost 4 % of a request's CPU. Bounded by 1 MiB a thread.
MALLOC_TUNABLES = "glibc.malloc.tcache_count=127:glibc.malloc.tcache_max=512"


def tuned(tunables: str) -> str:
    """Of GLIBC_TUNABLES, as it is, what it is to be: what the operator says of the same tunable is last, and wins."""
    if tunables.startswith(MALLOC_TUNABLES):
        return tunables
    return ":".join(filter(None, (MALLOC_TUNABLES, tunables)))


def exec_tuned() -> None:
    """Starts this process again with MALLOC_TUNABLES, where it has not been: its workers may be forks of it."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if tuned(tunables) != tunables and sys.orig_argv:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": tuned(tunables)})
