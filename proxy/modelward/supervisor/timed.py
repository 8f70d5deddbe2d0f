"""Values that hold until a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Timed(Generic[K, V]):
    """On the running loop. values: those that hold now. ended: told of each whose time is over."""

    def __init__(self, ended: Callable[[V], None]) -> None:
        self.values: dict[K, V] = {}
        self._ended = ended
        self._ends: dict[K, asyncio.TimerHandle] = {}

    def put(self, key: K, value: V, until: float) -> None:
        """In place of what the key had. until: seconds since 1970."""
        self.drop(key)
        self.values[key] = value
        self._ends[key] = asyncio.get_running_loop().call_later(until - time.time(), self._end, key)

    def drop(self, key: K) -> None:
        if key in self.values:
            del self.values[key]
            self._ends.pop(key).cancel()

    def _end(self, key: K) -> None:
        value = self.values[key]
        self.drop(key)
        self._ended(value)
