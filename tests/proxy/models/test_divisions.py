"""Whole-number divisions that could trap do not, and give what they gave."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelward.models.artifact import Artifact
from modelward.models.limited import run_in_child
from modelward.models.model_file import load_artifact
from tests import models


def loaded(folder: Path, content: Any) -> Artifact:
    (folder / "model.onnx").write_bytes(content.SerializeToString())
    return load_artifact(folder, folder / "model.onnx")


@pytest.mark.parametrize(("datatype", "number"), [(TensorProto.INT32, np.int32), (TensorProto.INT64, np.int64)])
def test_all_quotients_are_as_before_and_the_smallest_number_wraps_around(
    tmp_path: Path, datatype: int, number: type[np.signedinteger[Any]]
) -> None:
    a, b = (models.tensor(name, datatype, shape) for name, shape in (("a", ["n", "k"]), ("b", ["k"])))
    node = helper.make_node("Div", ["a", "b"], ["y"])
    artifact = loaded(tmp_path, models.model([node], [a, b], [models.tensor("y", datatype, ["n", "k"])]))
    assert artifact.deadly == ()
    limits = np.iinfo(number)
    dividends = np.array([limits.min, limits.min + 1, -7, -1, 0, 1, 7, limits.max], number)[:, None]
    divisors = np.array([-1, 1, 2, -3, limits.min, limits.max], number)
    dividends = np.repeat(dividends, len(divisors), axis=1)
    y = run_in_child(artifact.data, {"a": dividends, "b": divisors}, 30)["y"]
    expected = [[truncated(int(p), int(q), limits) for q in divisors] for p in dividends[:, 0]]
    np.testing.assert_array_equal(y, np.array(expected, number))


def truncated(dividend: int, divisor: int, limits: np.iinfo[Any]) -> int:
    quotient = abs(dividend) // abs(divisor) * (1 if (dividend < 0) == (divisor < 0) else -1)
    return quotient if quotient <= limits.max else int(limits.min)


def test_divisions_in_inner_graphs_are_guarded(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Div", ["state", "b"], ["next"]), helper.make_node("Identity", ["on"], ["go"])],
        "body",
        [
            models.tensor("i", TensorProto.INT64, ()),
            models.tensor("on", TensorProto.BOOL, ()),
            models.tensor("state", TensorProto.INT64, ["n"]),
        ],
        [models.tensor("go", TensorProto.BOOL, ()), models.tensor("next", TensorProto.INT64, ["n"])],
    )
    inputs = [models.tensor(name, TensorProto.INT64, ["n"]) for name in "ab"]
    loop = helper.make_node("Loop", ["trips", "", "a"], ["y"], body=body)
    trips = numpy_helper.from_array(np.array(2, np.int64), "trips")
    artifact = loaded(tmp_path, models.model([loop], inputs, [models.tensor("y", TensorProto.INT64, ["n"])], [trips]))
    assert artifact.deadly == ()
    smallest = np.iinfo(np.int64).min
    given: dict[str, npt.NDArray[Any]] = {"a": np.array([smallest, 12]), "b": np.array([-1, -2])}
    assert run_in_child(artifact.data, given, 30)["y"].tolist() == [smallest, 3]


def test_other_models_are_given_to_the_runtime_as_they_lie_on_disk(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(models.dividing())
    artifact = load_artifact(tmp_path, file)
    assert artifact.data == file.read_bytes()
    assert len(artifact.deadly) == 1, "what a function divides is known only where it is called"
