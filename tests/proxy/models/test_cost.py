"""Which models' time follows from the size of their inputs."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, load_model_from_string, numpy_helper

from modelward.models.cost import unpredictable
from tests import models


def _graph(*nodes: object, constants: dict[str, list[int]] | None = None) -> ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["n"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT64, None)]
    initializers = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in (constants or {}).items()]
    return helper.make_model(helper.make_graph(list(nodes), "g", inputs, outputs, initializers))


def test_a_network_of_plain_layers_is_predictable() -> None:
    assert unpredictable(load_model_from_string(models.mlp())) == ""


def test_a_loop_is_not() -> None:
    assert unpredictable(load_model_from_string(models.slow_loop(3))) == "Loop"


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Range"])
def test_an_output_as_large_as_an_input_says_is_not(operator: str) -> None:
    inputs = ["x"] if operator == "ConstantOfShape" else ["x", "x", "x"]
    assert unpredictable(_graph(helper.make_node(operator, inputs, ["y"]))) == operator


def test_a_size_computed_from_an_input_is_followed_through_other_operators() -> None:
    doubled = helper.make_node("Add", ["x", "x"], ["twice"])
    assert unpredictable(_graph(doubled, helper.make_node("ConstantOfShape", ["twice"], ["y"]))) == "ConstantOfShape"


def test_a_size_taken_from_a_shape_is_bounded_by_the_request() -> None:
    shape = helper.make_node("Shape", ["x"], ["s"])
    assert unpredictable(_graph(shape, helper.make_node("ConstantOfShape", ["s"], ["y"]))) == ""


def test_a_constant_size_is_predictable() -> None:
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    assert unpredictable(_graph(node, constants={"shape": [4]})) == ""
