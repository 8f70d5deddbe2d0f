"""Two answers to one request, compared: for the tools that show samples and replay them, and for tests."""

from typing import TypedDict

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

def compare(primary: bytes, shadow: bytes, tolerance: float) -> Comparison:
    """Compares two encoded ModelInferResponses; tolerance: the relative difference up to which numbers agree."""
