"""Canaries: a version that does not answer as its canary expects is not loaded."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from modelward.config.load import load
from modelward.models.canary import LARGEST, canary_file, failure, record, request_of
from modelward.models.canary import load as load_canary
from modelward.models.inventory import take_inventory
from modelward.models.model_file import load_artifact
from modelward.models.opening import LoadLimits, OpenVersion, open_models, try_open
from modelward.models.runtime import runtime
from modelward.models.trial import Trials
from modelward.problem import ProblemsFound
from modelward.repository.refused import problems_of
from modelward_native.backend.engine import Engine
from tests import models

X = np.arange(8, dtype=np.float32).reshape(2, 4)
GOOD = {"input:x": X, "output:y": X + 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository of one version: x [batch, 4] -> y = x + 1."""
    models.repository(tmp_path, {"one": models.add_one()})
    return tmp_path


def write(folder: Path, **arrays: Any) -> Path:
    file = folder / "one/1/canary.npz"
    np.savez(file, **arrays)
    return file


def open_all(folder: Path, before: list[OpenVersion] | None = None) -> list[OpenVersion]:
    inventory = take_inventory(load(None, [f"repository={folder}"], {}))
    if inventory.problems:
        raise ProblemsFound(inventory.problems)
    with Trials(folder / "state") as trials:
        known = {model.key: model for model in before or []}
        opened, refused = open_models(inventory, known, LoadLimits(60, trials))
    if refused:
        raise ProblemsFound(problems_of(refused))
    return opened


def problem(folder: Path) -> str:
    with pytest.raises(ProblemsFound) as found:
        open_all(folder)
    (only,) = found.value.problems
    return str(only)


def test_a_version_that_answers_as_expected_is_loaded(folder: Path) -> None:
    write(folder, **GOOD)
    (opened,) = open_all(folder)
    assert opened.key == ("one", "1")
    assert opened.checked.canary is not None, "it is to be run again"
    opened.engine.close()


def test_differences_within_the_tolerance_are_none(folder: Path) -> None:
    write(folder, **{"input:x": X, "output:y": X + 1.0005})
    open_all(folder)[0].engine.close()
    write(folder, **{"input:x": X, "output:y": X + 1.0005, "tolerance:y": 1e-6})
    assert "8 of 8 values differ by more than 1e-06" in problem(folder)
    write(folder, **{"input:x": X, "output:y": X + 1.25, "tolerance:y": 0.3})
    open_all(folder)[0].engine.close()


def test_a_version_that_answers_otherwise_is_not_loaded_and_the_place_is_told(folder: Path) -> None:
    wrong = X + 1
    wrong[1, 2] += 5
    write(folder, **{"input:x": X, "output:y": wrong})
    text = problem(folder)
    assert "model one version 1 fails its canary and is not loaded" in text
    assert "output 'y': 1 of 8 values differ by more than 0.001, the most at [1, 2]: 7.0 where 12.0 is expected" in text
    assert str(folder / "one/1/canary.npz") in text


def test_what_is_open_stays_open_where_a_new_version_fails(folder: Path) -> None:
    before = open_all(folder)
    models.repository(folder, {"one": {2: models.identity()}})
    np.savez(folder / "one/2/canary.npz", **GOOD)
    with pytest.raises(ProblemsFound, match="version 2 fails its canary"):
        open_all(folder, before)
    answer = before[0].engine.run_once({"x": X})
    np.testing.assert_array_equal(answer["y"], X + 1)
    before[0].engine.close()


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"output:y": X}, "it has no array 'input:x'"),
        ({"input:x": X}, "it expects no output"),
        ({**GOOD, "output:z": X}, "nothing for its array 'output:z'"),
        ({**GOOD, "inptu:x": X}, "; did you mean input:x?"),
        ({**GOOD, "input:x": X[:, :3]}, "input 'x' has shape [2, 3], the model takes [-1, 4]"),
        ({**GOOD, "input:x": X.astype(np.complex64)}, "input 'x' is complex64"),
        ({**GOOD, "input:x": np.full((2, 4), "a")}, "input 'x' is <U1"),
        ({**GOOD, "output:y": np.full((2, 4), "a")}, "'output:y' is <U1, the output is FP32"),
        ({**GOOD, "tolerance:y": -1.0}, "'tolerance:y' is not one number of at least 0"),
        ({**GOOD, "tolerance:y": np.nan}, "'tolerance:y' is not one number of at least 0"),
        ({**GOOD, "tolerance:y": [1.0]}, "'tolerance:y' is not one number of at least 0"),
        (
            {**GOOD, "output:y": X[:1]},
            "it answers in another shape: output 'y' has shape [2, 4] where [1, 4] is expected",
        ),
        ({**GOOD, "input:x": np.array([[{}] * 4])}, "it is damaged, or no .npz|Object arrays cannot be loaded"),
    ],
)
def test_a_canary_that_does_not_fit_is_told(folder: Path, arrays: dict[str, Any], told: str) -> None:
    write(folder, **arrays)
    text = problem(folder)
    assert any(part in text for part in told.split("|"))


def test_a_file_that_is_no_canary_is_refused(folder: Path) -> None:
    file = folder / "one/1/canary.npz"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("input:x.npy", bytes(LARGEST + 1))
    for data, told in [(b"", "damaged"), (b"PK\3\4", "damaged"), (packed.getvalue(), "would unpack to")]:
        file.write_bytes(data)
        assert told in problem(folder)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("input:x", b"text")
    assert "no array" in problem(folder)
    file.unlink()
    file.symlink_to("/dev/zero")
    assert "leaves the model's folder" in problem(folder)


def test_what_check_says_is_what_serve_would_say(folder: Path) -> None:
    write(folder, **{"input:x": X, "output:y": X})
    (checked,) = take_inventory(load(None, [f"repository={folder}"], {})).models
    (found,) = try_open(checked, LoadLimits(60, Trials(folder / "state")))
    assert "fails its canary" in str(found)
    write(folder, **GOOD)
    (checked,) = take_inventory(load(None, [f"repository={folder}"], {})).models
    assert try_open(checked, LoadLimits(60, Trials(folder / "state"))) == []


TYPES = [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8]
TYPES += [TensorProto.UINT64, TensorProto.BOOL, TensorProto.STRING]


@pytest.mark.parametrize("datatype", TYPES)
def test_what_was_recorded_is_kept_by_the_same_model_and_not_by_another(tmp_path: Path, datatype: int) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(models.identity(datatype))
    artifact = load_artifact(tmp_path, model)
    runtime()
    engine = Engine("m", "1", artifact.data)
    table: Any = np.arange(40).reshape(10, 4) % 2
    if datatype == TensorProto.STRING:
        table = table.astype("S")
    elif datatype == TensorProto.BFLOAT16:
        table = table.astype(np.float32)
    inputs = request_of({"x": table.astype(bool) if datatype == TensorProto.BOOL else table}, artifact.inputs, 3)
    record(engine.run_once(inputs), artifact.outputs, inputs, canary_file(model))
    canary = load_canary(tmp_path, tmp_path / "m.canary.npz", artifact.inputs, artifact.outputs)
    assert failure(canary, engine) is None
    flipped = {"y": canary.expected["y"][::-1].copy()}
    flipped["y"][0] = flipped["y"][0][::-1]
    wrong = failure(type(canary)(canary.file, canary.inputs, flipped, canary.tolerances), engine)
    assert wrong is not None
    engine.close()


def test_rows_are_spread_over_the_table_and_shaped_as_a_request(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(models.identity(TensorProto.FLOAT, ("batch", 2, 2)))
    specs = load_artifact(tmp_path, tmp_path / "m.onnx").inputs
    request = request_of({"x": np.arange(400.0).reshape(100, 4)}, specs, 3)
    assert request["x"].shape == (3, 2, 2)
    assert request["x"][:, 0, 0].tolist() == [0.0, 200.0, 396.0]
    assert request["x"].dtype == np.float32
    with pytest.raises(ValueError, match="there are no rows"):
        request_of({"x": np.zeros((0, 4))}, specs, 3)


def test_values_that_an_integer_cannot_hold_are_no_input(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(models.identity(TensorProto.UINT8))
    specs = load_artifact(tmp_path, tmp_path / "m.onnx").inputs
    assert request_of({"x": np.full((2, 4), 255.0)}, specs)["x"].dtype == np.uint8  # as csv gives them
    for value in (1.5, 256.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="holds values that are no UINT8"):
            request_of({"x": np.full((2, 4), value)}, specs)


def test_a_model_without_a_batch_is_recorded_with_one_request(tmp_path: Path) -> None:
    for shape, row in (((1, 4), (4,)), ((2, 2), (2, 2)), ((4,), (4,))):
        (tmp_path / "m.onnx").write_bytes(models.identity(TensorProto.FLOAT, shape))
        specs = load_artifact(tmp_path, tmp_path / "m.onnx").inputs
        request = request_of({"x": np.arange(12.0).reshape(3, *row)}, specs)
        assert request["x"].shape == shape
