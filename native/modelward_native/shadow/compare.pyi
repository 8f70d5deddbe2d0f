"""Pairs of answers compared, as objects: for tests, and for reading and adding up what the data plane has summed."""

from typing import TypedDict

SIZE: int
"""Bytes of the figures of one shadow."""
WINDOW: int
"""Pairs of scores that the window holds."""
DROPS: tuple[str, ...]
"""Why a request was not mirrored, or its pair given up."""
SCORE_EDGES: tuple[float, ...]
"""Edges between the cells of a score, ascending: one fewer than there are cells."""

class Comparison(TypedDict):
    """What one pair says: see mw_comparison in modelward_native/shadow/compare.h. scores: pairs (primary, shadow)."""

    status: str
    outputs: int
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
    disagreement: float
    absolute_sum: float
    absolute_max: float
    relative_sum: float
    relative_max: float
    scores: list[tuple[float, float]]

class Sums(TypedDict):
    """Sums over pairs: see mw_shadow_figures in shadow/compare.h. Scores by cell (SCORE_EDGES), latencies by cell of
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

SKETCH_ANSWER: int
"""What one answer adds to the cells of a sketch, over all of them."""

def sketch(answer: bytes) -> list[int]:
    """What an encoded ModelInferResponse adds to each cell (SCORE_EDGES) of its version's scores."""

def measure_sketch(answer: bytes, rounds: int) -> float:
    """Nanoseconds to add this answer to a sketch."""

def score_cell(score: float) -> int:
    """Index of the cell of a score that is not NaN."""

def compare(primary: bytes, shadow: bytes, tolerance: float) -> Comparison:
    """Compares two encoded ModelInferResponses; tolerance: the relative difference up to which numbers agree."""

class Figures:
    """Sums over pairs, and the window of their last scores."""

    def record(
        self, primary: bytes, shadow: bytes, tolerance: float = 0.001, primary_ns: int = 0, shadow_ns: int = 0
    ) -> None:
        """Compares two answers and adds what they say, and how long each took."""

    def fail(self, primary_failed: bool, shadow_failed: bool) -> None:
        """Counts a pair that was not answered on both sides."""

    def add(self, other: Figures) -> None:
        """Adds another's sums; its window stays its own."""

    def sums(self) -> Sums: ...
    def scores(self) -> list[tuple[float, float]]:
        """The pairs of scores in the window, oldest first."""

def measure(primary: bytes, shadow: bytes, rounds: int) -> float:
    """Nanoseconds to compare this pair and to add it to figures and window."""
