"""How far a model has learnt what its callers usually send: until then some signals, or all, are no evidence."""

from __future__ import annotations

from msgspec import Struct

PHASES = ("measuring", "filling", "learning", "armed")
SIGNALS = ("unlike", "near", "walk")
"""As modelward_native.detect, which commands do not load."""
COUNTING = {"measuring": (), "filling": SIGNALS[:1], "learning": SIGNALS[:1], "armed": SIGNALS}
"""By phase, the signals that are evidence in it. A budget of rows and what operators decide hold from the first row."""


class Progress(Struct, frozen=True):
    """phase: measuring, filling, learning, armed; empty where no version has a profile, and nothing is ever evidence.

    rows: of this phase so far; distinct ones but for measuring. needed: with so many it ends. fewer: with so many it
    ends too, once this many seconds are over. In the last phase that makes the next tables. locked: cells.
    fault_seconds: until a common fault is over; 0 for none. failing: identities that had it at once, at most.
    """

    model: str
    phase: str = ""
    rows: int = 0
    needed: int = 0
    fewer: int = 0
    seconds: float = 0.0
    locked: int = 0
    fault_seconds: float = 0.0
    failing: int = 0

    @property
    def evidence(self) -> tuple[str, ...]:
        return COUNTING.get(self.phase, ())

    @property
    def words(self) -> str:
        """In one line."""
        left = max(1, round(self.fault_seconds / 60))
        fault = (
            f"; a common fault of {self.failing} identities is tolerated for {left} min" if self.fault_seconds else ""
        )
        return self._words_of_phase + fault

    @property
    def _words_of_phase(self) -> str:
        if not self.phase:
            return "no version with a profile: nothing is evidence"
        if self.phase == PHASES[-1]:
            locked = (
                f", {self.locked} cell{'' if self.locked == 1 else 's'} of its profile locked" if self.locked else ""
            )
            return f"{self.phase}, all signals are evidence{locked}"
        kind = "rows" if self.phase == PHASES[0] else "distinct rows"
        left = f"{self.seconds / 3600:.0f} h" if self.seconds >= 7200 else f"{self.seconds / 60:.0f} min"
        how = f"{self.rows:,} of {self.needed:,} {kind}, or {self.fewer:,} in {left}"
        counts = f"only {self.evidence[0]} is evidence yet" if self.evidence else "nothing is evidence yet"
        return f"{self.phase}, {how}: {counts}"
