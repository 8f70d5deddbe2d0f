"""Names of inputs and their elements in `capture.features`."""

from __future__ import annotations

import pytest

from modelward.capture.features import elements, unknown


@pytest.mark.parametrize(
    ("shape", "batched", "count"), [((-1, 3), True, 3), ((-1,), True, 1), ((2, 3), False, 6), ((), False, 1)]
)
def test_elements_of_a_row_are_counted(shape: tuple[int, ...], batched: bool, count: int):
    assert elements(shape, batched) == count


def test_names_that_fit_no_input_are_found():
    sizes = {"x": 3, "a[0]": 1, "long": elements((-1, -1), True)}
    assert unknown(["x", "x[2]", "a[0]", "long[70000]"], sizes) == []
    assert unknown(["x[3]", "y", "x[]", "x[-1]", "a", ""], sizes) == ["x[3]", "y", "x[]", "x[-1]", "a", ""]
