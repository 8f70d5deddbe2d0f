"""Which nodes of a graph can end the process by the values of its inputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, load_model_from_string, numpy_helper

from modelward.models.deadly import deadly as findings
from tests import models

INT64, INT32, FLOAT = TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT
SMALLEST = np.iinfo(np.int64).min
CONSTANTS = {"one": 1, "zero": 0, "minus": -1, "smallest": SMALLEST}


def deadly(model: Any) -> tuple[str, ...]:
    return tuple(finding.words for finding in findings(model))


def found(*nodes: Sequence[Any], datatype: int = INT64) -> tuple[str, ...]:
    """Of a graph with inputs a and b and these nodes: operator, inputs, output."""
    made = [helper.make_node(name, inputs, [output], name=f"n{i}") for i, (name, inputs, output) in enumerate(nodes)]
    for node in made:
        if node.op_type == "Cast":
            node.attribute.append(helper.make_attribute("to", INT64))
    inputs = [models.tensor(name, datatype, ["n"]) for name in "ab"]
    numbers = [numpy_helper.from_array(np.array([value], np.int64), name) for name, value in CONSTANTS.items()]
    return deadly(models.model(made, inputs, [models.tensor("y", INT64, None)], numbers))


def test_a_division_is_named_with_its_inputs() -> None:
    assert found(("Div", ["a", "b"], "y")) == (
        f"node 'n0' (Div): {SMALLEST} divided by -1, which inputs 'a' and 'b' can bring about",
    )
    (told,) = found(("Div", ["a", "b"], "y"), datatype=INT32)
    assert "-2147483648 divided by -1" in told


@pytest.mark.parametrize(
    "nodes",
    [
        [("Mul", ["a", "a"], "s"), ("Div", ["s", "b"], "y")],
        [("Div", ["a", "minus"], "y")],
        [("Div", ["smallest", "b"], "y")],
        [("Sub", ["b", "one"], "d"), ("Identity", ["d"], "e"), ("Div", ["a", "e"], "y")],
        [("Max", ["minus", "b"], "d"), ("Div", ["a", "d"], "y")],
    ],
)
def test_what_a_client_can_choose_is_followed(nodes: list[Sequence[Any]]) -> None:
    assert len(found(*nodes)) == 1


@pytest.mark.parametrize(
    "nodes",
    [
        [("Div", ["a", "one"], "y")],
        [("Div", ["one", "b"], "y")],
        [("Max", ["b", "one"], "d"), ("Unsqueeze", ["d", "zero"], "e"), ("Div", ["a", "e"], "y")],
        [("Clip", ["b", "zero"], "d"), ("Div", ["a", "d"], "y")],
        [("Shape", ["b"], "d"), ("Div", ["a", "d"], "y")],
        [("Mod", ["a", "b"], "y")],
    ],
)
def test_what_no_client_can_bring_about_is_not_named(nodes: list[Sequence[Any]]) -> None:
    assert found(*nodes) == ()


def test_other_datatypes_than_whole_numbers_do_not_trap() -> None:
    assert found(("Div", ["a", "b"], "r"), ("Cast", ["r"], "y"), datatype=FLOAT) == ()
    assert found(("Cast", ["a"], "c"), ("Cast", ["b"], "d"), ("Div", ["c", "d"], "y"), datatype=INT32) == ()
    assert len(found(("Cast", ["a"], "c"), ("Cast", ["b"], "d"), ("Div", ["c", "d"], "y"), datatype=FLOAT)) == 1


def test_inner_graphs_and_functions_are_followed() -> None:
    body = helper.make_graph(
        [helper.make_node("Div", ["state", "b"], ["next"], name="inner"), helper.make_node("Identity", ["on"], ["go"])],
        "body",
        [
            models.tensor("i", INT64, ()),
            models.tensor("on", TensorProto.BOOL, ()),
            models.tensor("state", INT64, ["n"]),
        ],
        [models.tensor("go", TensorProto.BOOL, ()), models.tensor("next", INT64, ["n"])],
    )
    inputs = [models.tensor(name, INT64, ["n"]) for name in "ab"]
    trips = numpy_helper.from_array(np.array(3, np.int64), "trips")
    loop = helper.make_node("Loop", ["trips", "", "a"], ["y"], body=body)
    (told,) = deadly(models.model([loop], inputs, [models.tensor("y", INT64, ["n"])], [trips]))
    assert told.startswith("node 'inner' (Div)")

    opsets = [helper.make_opsetid("", models.OPSET)]
    ratio = helper.make_function(
        "own", "Ratio", ["p", "q"], ["r"], [helper.make_node("Div", ["p", "q"], ["r"])], opsets
    )
    call = helper.make_node("Ratio", ["a", "b"], ["y"], domain="own")
    model = models.model([call], inputs, [models.tensor("y", INT64, ["n"])], domains=[("own", 1)])
    model.functions.append(ratio)
    assert len(deadly(model)) == 1


def test_frames_whose_length_a_client_chooses_are_named() -> None:
    inputs = [models.tensor("x", FLOAT, [1, "n", 1]), models.tensor("length", INT64, [])]
    step = numpy_helper.from_array(np.array(2, np.int64), "step")
    node = helper.make_node("STFT", ["x", "step", "", "length"], ["y"])
    (told,) = deadly(models.model([node], inputs, [models.tensor("y", FLOAT, None)], [step]))
    assert "frames of length 0, which input 'length' can bring about" in told


def test_ordinary_models_have_none() -> None:
    for content in (models.mlp(), models.voice_activity(), models.slow_loop(3)):
        assert deadly(load_model_from_string(content)) == ()
