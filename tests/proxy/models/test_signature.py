"""What counts as one row of a model's inputs."""

import pytest

from modelward.tensors import TensorSpec, row_signature


def spec(*shape: int, name: str = "x") -> TensorSpec:
    return TensorSpec(name, "FP32", shape, (None,) * len(shape))


@pytest.mark.parametrize(
    ("shape", "row"),
    [
        ((-1, 30), (30,)),
        ((-1,), ()),
        ((-1, -1, 2), (-1, 2)),
        ((1, 30), (30,)),
        ((2, 4), (2, 4)),
        ((4,), (4,)),
        ((), ()),
    ],
)
def test_the_batch_axis_is_no_part_of_a_row(shape: tuple[int, ...], row: tuple[int, ...]) -> None:
    assert row_signature((spec(*shape),)) == {"x": ("FP32", row)}


def test_an_open_axis_counts_rows_only_if_all_inputs_have_one() -> None:
    rows = row_signature((spec(-1, 3, name="a"), spec(2, 3, name="b")))
    assert rows == {"a": ("FP32", (-1, 3)), "b": ("FP32", (2, 3))}
