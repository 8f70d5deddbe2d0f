"""Memory of large messages that the C library keeps when they are freed, given back to the system."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from modelward_native.region.heap import Pieces, trim

LOOK_SECONDS = 1.0
KEPT_BYTES = 32 * 2**20
"""More than that is given back: less is what the next messages take again."""

# of free memory, in bytes: the large ones first, of which there are few
PIECES = (2**22, 2**18, 28 * 2**10)
# bytes, and pieces, that the loop hands over to a thread or frees in one step: some 0.1 ms
AT_ONCE = 2**24
FREED_AT_ONCE = 1024
# such steps that found little in a row: what comes next was never used, or has been given back already
POOR_STEPS = 4
# bytes in fragments that are given back at once, while others wait for the heap
FRAGMENTS = 2**26


async def give_back(kept: int) -> None:
    """Gives `kept` bytes back to the system, as far as they are free. The loop goes on meanwhile."""
    pieces = Pieces()
    for size in PIECES:
        poor = 0
        while kept > 0 and poor < POOR_STEPS:
            pieces.take(size, AT_ONCE // size)
            given = await asyncio.to_thread(pieces.clear)
            kept -= given
            poor = 0 if given > AT_ONCE // 4 else poor + 1
    while pieces.free(FREED_AT_ONCE):
        await asyncio.sleep(0)
    if kept <= FRAGMENTS:
        await asyncio.to_thread(trim)


def resident_bytes() -> int:
    """Of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Memory:
    """Says when to give memory back: once it has grown, and requests hold little of it."""

    def __init__(self, resident: Callable[[], int] = resident_bytes) -> None:
        self._resident = resident
        self._least = resident()

    def kept(self, inflight_bytes: int) -> int:
        """Bytes."""
        used = self._resident() - inflight_bytes
        self._least = min(self._least, used)
        return used - self._least

    def given_back(self, inflight_bytes: int) -> None:
        """What is left is in use, and what requests hold of it is kept once they have ended."""
        self._least = self._resident() - inflight_bytes


async def keep_small(inflight_bytes: Callable[[], int]) -> None:
    """For ever: gives back what this process keeps and requests do not hold."""
    memory = Memory()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if (kept := memory.kept(inflight_bytes())) > KEPT_BYTES:
            await give_back(kept)
            memory.given_back(inflight_bytes())
