"""Which graphs keep rows apart: what must stay batched, and what must not be, each with the node that is to blame."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from modelward.models.model_file import load_artifact
from modelward.models.rows.walk import entangled
from modelward.models.runtime import runtime
from modelward.models.signature import read_signature
from modelward.models.warmup import warm_up
from modelward_native.backend.engine import Engine
from tests import models
from tests.models import BATCH, tensor

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def graph(
    nodes: Sequence[tuple[str, str, str, dict[str, Any]]],
    constants: dict[str, Any] | None = None,
    x: Sequence[int | str] = (BATCH, 4),
    y: Sequence[int | str] = (BATCH, 4),
    *,
    kind: int = FLOAT,
    domain: str = "",
) -> bytes:
    """nodes: (operator, inputs, outputs, attributes), names divided by blanks, "_" for one that is left out."""
    made = [
        helper.make_node(
            operator, ["" if n == "_" else n for n in inputs.split()], outputs.split(), domain=domain, **attributes
        )
        for operator, inputs, outputs, attributes in nodes
    ]
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    domains = [(domain, 1)] if domain else []
    return models.model(
        made, [tensor("x", kind, x)], [tensor("y", FLOAT, y)], kept, domains=domains
    ).SerializeToString()


def why(data: bytes) -> str:
    model = onnx.load_model_from_string(data)
    problems: list[Any] = []
    inputs, _ = read_signature(model, "model", problems)
    assert problems == []
    return entangled(model, inputs)


def normal(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


ATTENTION = graph(
    [
        ("Shape", "x", "shape", {}),
        ("Gather", "shape zero", "rows", {}),
        ("Gather", "shape one", "length", {}),
        ("Unsqueeze", "rows first", "rows1", {}),
        ("Unsqueeze", "length first", "length1", {}),
        ("Concat", "rows1 length1 heads width", "split", {"axis": 0}),
        *(
            node
            for name in "qkv"
            for node in (
                ("MatMul", f"x w{name}", f"{name}0", {}),
                ("Reshape", f"{name}0 split", f"{name}1", {}),
                ("Transpose", f"{name}1", name, {"perm": [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]}),
            )
        ),
        ("Concat", "rows1 one1 one1 one1", "maskshape", {"axis": 0}),
        ("ConstantOfShape", "maskshape", "mask", {}),
        ("MatMul", "q k", "scores", {}),
        ("Add", "scores mask", "masked", {}),
        ("Softmax", "masked", "weights", {"axis": -1}),
        ("MatMul", "weights v", "mixed", {}),
        ("Transpose", "mixed", "back", {"perm": [0, 2, 1, 3]}),
        ("Reshape", "back joined", "flat", {}),
        ("Add", "flat x", "sum", {}),
        ("LayerNormalization", "sum scale", "y", {"axis": -1}),
    ],
    {
        "zero": np.array(0),
        "one": np.array(1),
        "first": ints(0),
        "one1": ints(1),
        "heads": ints(2),
        "width": ints(4),
        "joined": ints(0, 0, 8),
        "scale": normal(8),
        **{f"w{name}": normal(8, 8) for name in "qkv"},
    },
    (BATCH, "length", 8),
    (BATCH, "length", 8),
)
# as torch.nn.MultiheadAttention lays it out: positions first, rows and heads as one axis
POSITIONS_FIRST = graph(
    [
        ("Transpose", "x", "first", {"perm": [1, 0, 2]}),
        ("MatMul", "first w", "q", {}),
        ("Shape", "q", "shape", {}),
        ("Gather", "shape zero", "length", {"axis": 0}),
        ("Gather", "shape one", "rows", {"axis": 0}),
        ("Mul", "rows heads", "both", {}),
        ("Concat", "length both width", "to", {"axis": 0}),
        ("Reshape", "q to", "split", {}),
        ("Transpose", "split", "t", {"perm": [1, 0, 2]}),
        ("Transpose", "split", "u", {"perm": [1, 2, 0]}),
        ("MatMul", "t u", "scores", {}),
        ("Softmax", "scores", "weights", {"axis": -1}),
        ("MatMul", "weights t", "mixed", {}),
        ("Transpose", "mixed", "again", {"perm": [1, 0, 2]}),
        ("Mul", "length rows", "all", {}),
        ("Concat", "all eight", "flat", {"axis": 0}),
        ("Reshape", "again flat", "two", {}),
        ("Gemm", "two w", "out", {}),
        ("Concat", "length rows eight", "three", {"axis": 0}),
        ("Reshape", "out three", "last", {}),
        ("Transpose", "last", "y", {"perm": [1, 0, 2]}),
    ],
    {"w": normal(8, 8), "zero": ints(0), "one": ints(1), "heads": ints(2), "width": ints(4), "eight": ints(8)},
    (BATCH, "length", 8),
    (BATCH, "length", 8),
)
CONVOLUTIONS = graph(
    [
        ("Conv", "x w", "c", {"pads": [1, 1, 1, 1]}),
        ("BatchNormalization", "c scale bias mean var", "n", {}),
        ("Relu", "n", "r", {}),
        ("MaxPool", "r", "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Resize", "p _ scales", "u", {}),
        ("Concat", "u r", "k", {"axis": 1}),
        ("GlobalAveragePool", "k", "g", {}),
        ("Flatten", "g", "f", {}),
        ("Gemm", "f v", "y", {}),
    ],
    {
        "w": normal(4, 3, 3, 3),
        **{name: np.abs(normal(4)) for name in ("scale", "bias", "mean", "var")},
        "scales": np.array([1, 1, 2, 2], np.float32),
        "v": normal(8, 4),
    },
    (BATCH, 3, 8, 8),
)
RECURRENT = graph(
    [
        ("Transpose", "x", "t", {"perm": [1, 0, 2]}),
        ("Shape", "x", "shape", {}),
        ("Gather", "shape zero", "rows", {"axis": 0}),
        ("Concat", "one rows four", "to", {"axis": 0}),
        ("Expand", "state to", "h", {}),
        ("GRU", "t w r _ _ h", "all last", {"hidden_size": 4}),
        ("Squeeze", "last zero", "y", {}),
    ],
    {
        "zero": ints(0),
        "one": ints(1),
        "four": ints(4),
        "state": np.zeros((1, 1, 4), np.float32),
        "w": normal(1, 12, 4),
        "r": normal(1, 12, 4),
    },
    (BATCH, "length", 4),
)
EMBEDDING = graph(
    [
        ("Gather", "table x", "e", {}),
        ("Shape", "x", "shape", {}),
        ("Gather", "shape one", "length", {"axis": 0}),
        ("Slice", "places zero length axis", "p", {}),
        ("Add", "e p", "s", {}),
        ("ReduceMean", "s", "y", {"axes": [1], "keepdims": 0}),
    ],
    {"table": normal(9, 4), "places": normal(1, 16, 4), "zero": ints(0), "one": ints(1), "axis": ints(1)},
    (BATCH, "length"),
    kind=INT64,
)

KEEP = {
    "element by element": models.add_one(),
    "a perceptron": models.mlp(),
    "two inputs": models.two_inputs(),
    "texts": models.strings(),
    "a loop over states": models.slow_loop(3),
    "attention": ATTENTION,
    "attention with positions first": POSITIONS_FIRST,
    "convolutions": CONVOLUTIONS,
    "a recurrent network": RECURRENT,
    "embeddings with places": EMBEDDING,
    "the rest of a shape": graph([("Reshape", "x to", "y", {})], {"to": ints(-1, 2, 2)}, y=(BATCH, 2, 2)),
    "rows cut in whole parts": graph(
        [("Reshape", "x to", "r", {}), ("MatMul", "r w", "m", {}), ("Reshape", "m back", "y", {})],
        {"to": ints(-1, 2), "w": normal(2, 2), "back": ints(-1, 4)},
    ),
    "softmax of a row": graph([("Softmax", "x", "y", {"axis": 1})]),
    "the best of a row": graph([("TopK", "x k", "y i", {"axis": -1})], {"k": ints(2)}, y=(BATCH, 2)),
    "einsum": graph([("Einsum", "x w", "y", {"equation": "bi,ij->bj"})], {"w": normal(4, 4)}),
}
PARTS = {"three": np.array(3.0, np.float32), "hundred": np.array(100.0, np.float32)}
NOT = {
    "divided by the largest of all": (
        graph(
            [
                ("Abs", "x", "a", {}),
                ("ReduceMax", "a", "m", {"axes": [0, 1], "keepdims": 0}),
                ("Max", "m hundred", "d", {}),
                ("Div", "x d", "y", {}),
            ],
            PARTS,
        ),
        "ReduceMax",
    ),
    "softmax over rows": (graph([("Softmax", "x", "y", {"axis": 0})]), "Softmax"),
    "sums of rows": (graph([("CumSum", "x axis", "y", {})], {"axis": ints(0)[0]}), "CumSum"),
    "sorted rows": (graph([("TopK", "x k", "y i", {"axis": 0})], {"k": ints(1)}), "TopK"),
    "times the number of rows": (
        graph(
            [
                ("Shape", "x", "s", {}),
                ("Gather", "s zero", "n", {}),
                ("Cast", "n", "f", {"to": FLOAT}),
                ("Mul", "x f", "y", {}),
            ],
            {"zero": np.array(0)},
        ),
        "Mul",
    ),
    "rows times rows": (
        graph(
            [("Transpose", "x", "t", {}), ("MatMul", "x t", "m", {}), ("MatMul", "m x", "y", {})],
        ),
        "MatMul",
    ),
    "rows that others point at": (graph([("Gather", "x i", "y", {})], {"i": ints(0, 0)}), "Gather"),
    "all rows but the first": (
        graph([("Slice", "x one end axis", "y", {})], {"one": ints(1), "end": ints(9), "axis": ints(0)}),
        "Slice",
    ),
    "rows backwards": (
        graph(
            [("Slice", "x start end axis step", "y", {})],
            {"start": ints(-1), "end": ints(-(2**62)), "axis": ints(0), "step": ints(-1)},
        ),
        "Slice",
    ),
    "a row more": (graph([("Concat", "x one", "y", {"axis": 0})], {"one": normal(1, 4)}), "Concat"),
    "parts of two rows as one": (
        graph(
            [("Reshape", "x to", "r", {}), ("Softmax", "r", "s", {"axis": 1}), ("Reshape", "s back", "y", {})],
            {"to": ints(-1, 4), "back": ints(-1, 6)},
            (BATCH, 6),
            (BATCH, 6),
        ),
        "Reshape",
    ),
    "all rows as one": (graph([("Flatten", "x", "y", {"axis": 0})], y=(BATCH, "all")), "Flatten"),
    "a constant for each row": (graph([("Add", "x c", "y", {})], {"c": normal(2, 4)}), "Add"),
    "a scale for each row": (
        graph([("MatMul", "c x", "y", {})], {"c": normal(4, 2)}),
        "MatMul",
    ),
    "normalised over rows": (
        graph([("MeanVarianceNormalization", "x", "y", {})], x=(BATCH, 2, 2, 2), y=(BATCH, 2, 2, 2)),
        "MeanVarianceNormalization",
    ),
    "rows as channels": (
        graph(
            [
                ("Transpose", "x", "t", {"perm": [1, 0]}),
                ("BatchNormalization", "t s s s s", "n", {}),
                ("Transpose", "n", "y", {"perm": [1, 0]}),
            ],
            {"s": np.ones(2, np.float32)},
        ),
        "BatchNormalization",
    ),
    "an operator that is not known": (graph([("Det", "x", "y", {})], x=(BATCH, 2, 2), y=(BATCH,)), "Det"),
    "another number of rows": (graph([("ReduceSum", "x zero", "y", {})], {"zero": ints(0)}, y=(BATCH, 4)), "ReduceSum"),
}


@pytest.mark.parametrize("name", KEEP)
def test_usual_models_are_batched(tmp_path: Path, name: str) -> None:
    assert why(KEEP[name]) == ""
    assert batched(tmp_path, KEEP[name]) == ""


def test_shapes_are_not_inferred_for_usual_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would load the schemas of all operators, for as long as the process lives."""
    inferred: list[Any] = []
    monkeypatch.setattr(shape_inference, "infer_shapes", lambda model: inferred.append(model) or model)
    assert [name for name, data in KEEP.items() if why(data)] == []
    assert inferred == []
    assert why(NOT["an operator that is not known"][0]) != ""
    assert len(inferred) == 1


@pytest.mark.parametrize("name", NOT)
def test_models_that_join_rows_are_not_and_the_node_is_told(name: str) -> None:
    data, operator = NOT[name]
    assert f"({operator}): " in why(data)


def batched(tmp_path: Path, data: bytes) -> str:
    """What serving it would say of batches, "" where it has them."""
    runtime()
    (tmp_path / "model.onnx").write_bytes(data)
    artifact = load_artifact(tmp_path, tmp_path / "model.onnx")
    engine = Engine("model", "1", artifact.data)
    try:
        note = warm_up(engine, 16, artifact.entangled)
        assert engine.batchable == (note == "")
        return note
    finally:
        engine.close()


def test_what_joins_rows_only_where_they_are_large_is_found_by_trial_too(tmp_path: Path) -> None:
    """Without the graph: numbers of several sizes in one run."""
    runtime()
    data, _ = NOT["divided by the largest of all"]
    engine = Engine("model", "1", data)
    assert "depends on the rows beside it" in warm_up(engine, 16)
    engine.close()


def test_the_reason_is_told_with_the_operator_and_its_node(tmp_path: Path) -> None:
    note = batched(tmp_path, NOT["softmax over rows"][0])
    assert note == "node 'y' (Softmax): it works along the axis of the rows: run request by request"


def test_functions_of_the_model_are_followed() -> None:
    function = helper.make_function(
        "own", "largest", ["a"], ["b"],
        [helper.make_node("ReduceMax", ["a"], ["m"], axes=[0]), helper.make_node("Sub", ["a", "m"], ["b"])],
        [helper.make_opsetid("", models.OPSET)],
    )  # fmt: skip
    model = onnx.load_model_from_string(graph([("largest", "x", "y", {})], domain="own"))
    model.functions.append(function)
    assert "(ReduceMax): it works along the axis of the rows" in why(model.SerializeToString())


def test_models_of_scikit_learn_are_batched() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn import linear_model, neural_network, pipeline, preprocessing, svm  # noqa: PLC0415

    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    label = np.digitize(x[:, 0], [-0.5, 0.5])
    estimators = [
        (ensemble.RandomForestClassifier(3), label),
        (ensemble.GradientBoostingClassifier(n_estimators=2), label),
        (ensemble.RandomForestRegressor(3), x[:, 1]),
        (linear_model.LogisticRegression(), label),
        (linear_model.LinearRegression(), x[:, 1]),
        (svm.SVC(), label),
        (neural_network.MLPClassifier((4,), max_iter=2), label),
        (pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.SGDClassifier()), label),
    ]
    told = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for estimator, target in estimators:
            estimator.fit(x, target)
            options = {id(estimator): {"zipmap": False}} if target is label else None
            model = skl2onnx.to_onnx(estimator, x[:1], options=options)
            told[type(estimator).__name__] = why(model.SerializeToString())
    assert set(told.values()) == {""}, told
