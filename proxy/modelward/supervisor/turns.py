"""Work that many may ask for at once, done by one at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """One piece of work is under way at a time and one waits, which everybody who asks meanwhile shares."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._busy = asyncio.Lock()
        self._waiting: asyncio.Task[T] | None = None
        self._tasks: set[asyncio.Task[T]] = set()  # at most two

    async def take(self) -> T:
        """The result of work that begins after this call. It goes on if the caller is cancelled."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_task(self._run())
            self._tasks.add(self._waiting)
            self._waiting.add_done_callback(self._tasks.discard)
        return await asyncio.shield(self._waiting)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _run(self) -> T:
        async with self._busy:
            self._waiting = None  # what changes from now on is the next one's
            return await self._work()
