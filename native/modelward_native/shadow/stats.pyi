"""What the pairs of a shadow have said, as objects: to be read and added up."""

from typing import TypedDict

SIZE: int
"""Bytes of one mw_shadow_stats."""
WINDOW: int
"""Pairs of scores that the window holds."""
DROPS: tuple[str, ...]
"""Why a request was not mirrored, or its pair given up."""

class Sums(TypedDict):
    """Sums over pairs: see mw_shadow_stats in shadow/shadow_stats.h. Scores by cell (SCORE_EDGES), latencies by cell of
    modelward_native.telemetry.histogram.EDGES in ns, drops by reason."""

    compared: int
    primary_failed: int
    shadow_failed: int
    both_failed: int
    disagreement: float
    disagreeing: int
    unreadable_answers: int
    missing: int
    extra: int
    datatype: int
    shape: int
    unreadable: int
    labels: int
    labels_differ: int
    numbers: int
    differences: int
    beyond: int
    nan_primary: int
    nan_shadow: int
    nan_both: int
    unseen: int
    absolute_sum: float
    absolute_max: float
    relative_sum: float
    relative_max: float
    dropped: dict[str, int]
    score_primary: list[int]
    score_shadow: list[int]
    latency_primary: list[int]
    latency_shadow: list[int]

class Stats:
    """Sums over pairs, and the window of their last scores."""

    def record(
        self, primary: bytes, shadow: bytes, tolerance: float = 0.001, primary_ns: int = 0, shadow_ns: int = 0
    ) -> None:
        """Compares two answers and adds what they say, and how long each took."""

    def fail(self, primary_failed: bool, shadow_failed: bool) -> None:
        """Counts a pair that was not answered on both sides."""

    def add(self, other: Stats) -> None:
        """Adds another's sums; its window stays its own."""

    def sums(self) -> Sums: ...
    def scores(self) -> list[tuple[float, float]]:
        """The pairs of scores in the window, oldest first."""
