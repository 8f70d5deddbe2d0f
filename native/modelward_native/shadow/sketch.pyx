"""Cells of scores: where their edges are, and what one answer adds to them."""


def _score_edges():
    positive = [2.0 ** (MW_SCORE_LEAST + place // 4) * (1 + place % 4 / 4.0) for place in range(MW_SCORE_HALF)]
    return (*(-edge for edge in reversed(positive)), *positive)


SCORE_EDGES = _score_edges()  # between the cells of a score, ascending: one fewer than there are cells
SKETCH_ANSWER = MW_SKETCH_ANSWER  # what one answer adds to the cells of a sketch
