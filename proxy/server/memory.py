"""Memory of large messages that the C library keeps when they are freed, given back to the system."""

from __future__ import annotations

import os
from collections.abc import Callable

KEPT_BYTES = 32 * 2**20
"""More than that is given back: less is what the next messages take again."""


def resident_bytes() -> int:
    """Of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Memory:
    """Says when to give memory back: once it has grown, and requests hold little of it."""

    def __init__(self, resident: Callable[[], int] = resident_bytes) -> None:
        self._resident = resident
        self._least = resident()

    def is_kept(self, inflight_bytes: int) -> bool:
        used = self._resident() - inflight_bytes
        self._least = min(self._least, used)
        return used - self._least > KEPT_BYTES

    def given_back(self, inflight_bytes: int) -> None:
        """What is left is in use, and what requests hold of it is kept once they have ended."""
        self._least = self._resident() - inflight_bytes
