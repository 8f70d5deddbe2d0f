"""A slow twin of the breaker: every outcome with its time, and the rules read off them."""

from __future__ import annotations

from dataclasses import dataclass, field

SLOTS = 10


@dataclass
class Oracle:
    """The arguments are those of modelward_native.backend.breaker.Policy; times in ns that never step back."""

    failures: int
    success_rate: float
    volume: int
    window: int
    ejection: int
    longest: int
    state: str = "closed"
    until: int = 0
    closed_at: int = 0
    memory: int = 0
    outcomes: list[tuple[int, bool]] = field(default_factory=list)
    on_trial: bool = False

    def move_time(self, now: int) -> None:
        if self.state == "open" and now >= self.until:
            self.state = "half-open"

    def begin(self, now: int) -> bool:
        self.move_time(now)
        trial = self.state == "half-open" and not self.on_trial
        self.on_trial |= trial
        return trial

    def end(self, trial: bool, good: bool | None, now: int) -> bool:
        self.move_time(now)
        if trial:
            self.on_trial = False
            if good:
                self.state, self.closed_at, self.outcomes = "closed", now, []
            elif good is False:
                self._trip(now, order=0)
            return good is False
        if self.state != "closed" or good is None:
            return False
        self.outcomes.append((now, good))
        if good or not (self._in_a_row() or self._poor(now)):
            return False
        self._trip(now, order=now - self.closed_at)
        return True

    def _in_a_row(self) -> bool:
        last = [good for _, good in self.outcomes[-self.failures :]]
        return self.failures > 0 and len(last) == self.failures and not any(last)

    def _poor(self, now: int) -> bool:
        slot = self.window // SLOTS
        recent = [good for at, good in self.outcomes if now // slot - at // slot < SLOTS]
        return len(recent) >= self.volume and sum(recent) * 1000 < round(self.success_rate * 1000) * len(recent)

    def _trip(self, now: int, order: int) -> None:
        """order: ns in order since the last ejection; each span of an ejection's length forgives one."""
        self.memory = max(0, self.memory - order // self.ejection) + 1
        self.memory = min(self.memory, self.longest // self.ejection + 1)
        self.state, self.until, self.outcomes = "open", now + min(self.memory * self.ejection, self.longest), []
