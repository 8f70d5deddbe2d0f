"""Kernels of shadows as Python functions, and what they cost: for tests and tools."""

def score_cell(score: float) -> int:
    """Index of the cell of a score that is not NaN."""

def sketch(answer: bytes) -> list[int]:
    """What an encoded ModelInferResponse adds to each cell (SCORE_EDGES) of its version's scores."""

def measure_sketch(answer: bytes, rounds: int) -> float:
    """Nanoseconds to add this answer to a sketch."""

def measure_compare(primary: bytes, shadow: bytes, rounds: int) -> float:
    """Nanoseconds to compare this pair and to add it to stats and window."""
