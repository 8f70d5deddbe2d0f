"""Whether this server wants traffic: one switch that health checks, readiness probes and Watch streams all read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable


class Readiness:
    """Owned by the event loop that serves: `set` is called on it, and wakes every watcher once.

    `reason` says in words why the server is not ready; it is empty while it is.
    """

    def __init__(self, reason: str = "starting") -> None:
        self._ready = False
        self._reason = reason
        self._changed = asyncio.Event()
        self._follower: Callable[[bool], None] | None = None

    def follow(self, told: Callable[[bool], None]) -> None:
        """`told` is called with the present state, and with every later one before anything else sees it."""
        self._follower = told
        told(self._ready)

    @property
    def ready(self) -> bool:
        return self._ready

    @property
    def reason(self) -> str:
        return self._reason

    def set(self, ready: bool, reason: str = "") -> None:
        """Turns readiness on, or off with a reason ("draining")."""
        self._ready = ready
        self._reason = "" if ready else reason or "not ready"
        if self._follower is not None:
            self._follower(ready)
        # A fresh event for the next change: watchers of this one are woken even if the switch flips back at once.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changes(self) -> AsyncGenerator[bool, None]:
        """The present state, then every later one. A slow watcher skips intermediate states, never the last."""
        last: bool | None = None
        while True:
            if self._ready != last:
                last = self._ready
                yield last
            else:
                await self._changed.wait()
