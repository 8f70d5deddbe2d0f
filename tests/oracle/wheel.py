"""Slow twin of the timer wheel: a dictionary of due ticks, searched in full."""

from collections.abc import Hashable

TICK_NS = 1 << 20


class Oracle:
    """Says which timers must fire in a round, and checks each as it does."""

    def __init__(self, now_ns: int) -> None:
        self.tick = now_ns // TICK_NS
        self.pending: dict[Hashable, int] = {}
        self.expired: dict[Hashable, int] = {}

    def add(self, name: Hashable, due_ns: int) -> None:
        self.pending[name] = -(-due_ns // TICK_NS)

    def cancel(self, name: Hashable) -> None:
        self.pending.pop(name, None)
        self.expired.pop(name, None)

    def is_pending(self, name: Hashable) -> bool:
        return name in self.pending or name in self.expired

    def begin(self, now_ns: int) -> None:
        """A round of firing: everything due by now, or added when its tick had already passed."""
        self.tick = max(self.tick, now_ns // TICK_NS)
        self.expired = {name: tick for name, tick in self.pending.items() if tick <= self.tick}
        for name in self.expired:
            del self.pending[name]

    def fired(self, name: Hashable) -> int:
        """The due tick of a timer that has just fired; KeyError if it should not have."""
        return self.expired.pop(name)

    def next_due_ns(self) -> int | None:
        return min(self.pending.values()) * TICK_NS if self.pending else None
