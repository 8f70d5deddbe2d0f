"""What the demo ships is what README.md and the script that made it say."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from modelward.demo import make
from modelward.demo.slow import slow_model
from modelward.demo.table import MODEL_FILE, TABLE_FILE, load_table, model_bytes
from modelward.models.runtime import runtime
from modelward_native.backend.engine import Engine

SIGNATURE = [("input", "FP32", (-1, 30))], [("label", "INT64", (-1,)), ("probabilities", "FP32", (-1, 2))]


@pytest.fixture(autouse=True)
def onnx_runtime() -> None:
    runtime()


def test_the_table_is_scikit_learns_as_float32() -> None:
    table, source = load_table(), load_breast_cancer()
    assert np.array_equal(table.rows, source.data.astype(np.float32))
    assert np.array_equal(table.truth, source.target)
    assert table.features == tuple(source.feature_names)
    assert table.classes == tuple(source.target_names)


def test_the_model_knows_the_table_and_gives_probabilities() -> None:
    table, engine = load_table(), Engine("m", "1", model_bytes())
    assert (engine.inputs, engine.outputs) == SIGNATURE
    answer = engine.run_once({"input": table.rows})
    assert np.mean(answer["label"] == table.truth) > 0.96
    assert np.allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-5)


def test_the_script_makes_both_files_again(tmp_path: Path) -> None:
    assert make.make(tmp_path) > 0.93
    again = Engine("m", "1", (tmp_path / MODEL_FILE).read_bytes())
    assert (again.inputs, again.outputs) == SIGNATURE
    with np.load(tmp_path / TABLE_FILE) as arrays:
        assert np.array_equal(arrays["rows"], load_table().rows)


def test_a_changed_row_differs_in_the_named_features_only() -> None:
    table = load_table()
    changed = table.changed(table.rows[0], {"mean area": 2.0})
    assert [table.features[i] for i in np.flatnonzero(changed != table.rows[0])] == ["mean area"]
    assert table.rows[0, 3] * 2 == changed[3]


def test_the_slow_model_is_as_slow_as_it_is_told_to_be() -> None:
    model, expected = slow_model(features=30, seconds=0.2)
    engine = Engine("slow", "1", model)
    assert expected >= 0.19
    assert (engine.inputs, engine.outputs) == ([("input", "FP32", (-1, 30))], [("probabilities", "FP32", (-1, 2))])
    assert engine.predicted_placement() == "thread"
    one, other = (engine.run_once({"input": np.full((1, 30), x, np.float32)})["probabilities"] for x in (0.1, 0.9))
    assert not np.array_equal(one, other)  # it computes something: no optimiser has folded the loop away
