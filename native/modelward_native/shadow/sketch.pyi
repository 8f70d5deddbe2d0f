"""Cells of scores: where their edges are, and what one answer adds to them."""

SCORE_EDGES: tuple[float, ...]
"""Edges between the cells of a score, ascending: one fewer than there are cells."""
SKETCH_ANSWER: int
"""What one answer adds to the cells of a sketch, over all of them."""
