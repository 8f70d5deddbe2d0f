"""Which models are opened in a child process first, since opening them may take any time or memory."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelward.child import ChildEnded
from modelward.models.costly import costly
from modelward.models.limited import try_in_child
from tests import models
from tests.models import BATCH, tensor


def found(data: bytes) -> str:
    return costly(onnx.load_model_from_string(data))


def test_usual_models_are_not() -> None:
    for data in (models.add_one(), models.mlp(), models.two_inputs(), models.strings(), models.slow_loop(3)):
        assert found(data) == ""


def test_what_makes_much_of_few_constants_is() -> None:
    assert found(models.hungry(2)) == "ConstantOfShape"
    sides = [
        numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (("a", (9, 1)), ("b", (1, 9)))
    ]
    for operator in ("MatMul", "Add"):
        data = models.model(
            [
                helper.make_node(operator, ["a", "b"], ["all"]),
                helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0),
                helper.make_node("Add", ["x", "sum"], ["y"]),
            ],
            [tensor("x", TensorProto.FLOAT, [BATCH, 4])],
            [tensor("y", TensorProto.FLOAT, [BATCH, 4])],
            sides,
        ).SerializeToString()
        assert found(data) == operator


def test_the_child_ends_where_this_process_would_not() -> None:
    with pytest.raises(ChildEnded, match="longer than 2 s"):
        try_in_child(models.hungry(10_000), 2)
    with pytest.raises(ValueError, match="alloc"):
        try_in_child(models.hungry(2**18), 30)
    try_in_child(models.hungry(4), 30)
