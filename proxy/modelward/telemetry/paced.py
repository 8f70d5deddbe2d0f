"""Things that may happen a thousand times a second, told once per key and pause, with their number."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from msgspec import Struct

PAUSE_SECONDS = 10.0
# keys that are kept: there are as many as endpoints and kinds of events
MOST_KEYS = 4096


class _Kept(Struct):
    number: int = 0
    after: float = 0.0  # when the next line may be written


class Paced:
    """The first event of a key is told at once; what follows within the pause is told together when it has ended."""

    def __init__(self, seconds: float = PAUSE_SECONDS) -> None:
        self._seconds = seconds
        self._kept: dict[Hashable, _Kept] = {}

    def add(self, key: Hashable, number: int, now: float, tell: Callable[[int], None]) -> None:
        """number: of new events, may be 0. tell: is given all that were not told yet. For each key each round."""
        kept = self._kept.get(key)
        if kept is None:
            if not number:
                return
            if len(self._kept) >= MOST_KEYS:
                self._kept.pop(next(iter(self._kept)))
            kept = self._kept[key] = _Kept()
        kept.number += number
        if kept.number and now >= kept.after:
            tell(kept.number)
            self._kept[key] = _Kept(0, now + self._seconds)
