"""What the log says of an answer that is not as the guards of its outputs say."""

from math import nan

import pytest

from modelward.models.output_log import seen


@pytest.mark.parametrize(
    ("guard", "row", "value", "other", "said"),
    [
        ("range", 0, 1.7, nan, " row 0: 1.7"),
        ("finite", 2, nan, nan, " row 2: nan"),
        ("sum", 0, 0.75, nan, " row 0: adds up to 0.75"),
        ("not_above", 1, 5.0, 3.0, " row 1: 5, above 3"),
        ("not_above", -1, nan, nan, ": the other tensor has no such rows or columns"),
        ("rises_with", 1, 0.25, 0.5, " row 1: 0.25, after 0.5"),
        ("mean", 0, 0.019, 0.05, ": a mean of 0.019, after means of 0.05"),
        ("budget", 0, 60.0, 60.0, " asks for 60"),
        ("readable", -1, 0.0, 0.0, ""),
    ],
)
def test_each_guard_is_told_in_its_own_words(guard: str, row: int, value: float, other: float, said: str) -> None:
    assert seen(guard, row, value, other) == said
