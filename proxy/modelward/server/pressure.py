"""Whether this process lacks time: what only watches, as shadows do, gives way then."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

PERIOD_SECONDS = 0.05
# Of the wall clock's time, that the loop runs or wants to run: above it, whatever is added makes requests wait.
LOOP_BUSY = 0.85
# Of a thread that gets only time which is left over, that it wanted to run and could not.
STARVED = 0.5
TASKS = Path("/proc/self/task")


class _Spent(Struct, frozen=True):
    """ns since its beginning, of one thread."""

    ran: int = 0
    waited: int = 0


class Pressure:
    """Looks at the thread that makes it, the loop's. `lacking` is to be called every PERIOD_SECONDS."""

    def __init__(self) -> None:
        self._loop = threading.get_native_id()
        self._seen: dict[int, _Spent] = {self._loop: _spent(self._loop)}
        self._at = time.monotonic_ns()

    def lacking(self, yielding: Iterable[int]) -> bool:
        """Since the last call. yielding: threads that get only left-over time, by the kernel's numbers."""
        now = time.monotonic_ns()
        span, self._at = max(now - self._at, 1), now
        before = self._seen
        self._seen = {thread: _spent(thread) for thread in (self._loop, *yielding) if thread}

        def part(thread: int) -> tuple[float, float]:
            spent, earlier = self._seen[thread], before.get(thread, self._seen[thread])
            return (spent.ran - earlier.ran) / span, (spent.waited - earlier.waited) / span

        return sum(part(self._loop)) > LOOP_BUSY or any(part(thread)[1] > STARVED for thread in self._seen)


def _spent(thread: int) -> _Spent:
    """Where the kernel does not tell how long a thread waited, only what it ran is known, of this one."""
    with contextlib.suppress(OSError, ValueError):
        ran, waited, _ = (TASKS / str(thread) / "schedstat").read_text().split()
        return _Spent(int(ran), int(waited))
    return _Spent(time.thread_time_ns() if thread == threading.get_native_id() else 0)
