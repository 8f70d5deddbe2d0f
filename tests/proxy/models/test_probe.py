"""ONNX Runtime's own opinion of a model, asked before serving."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from proxy.models.artifact import Artifact, load_artifact
from proxy.models.probe import probe
from proxy.models.runtime import mend
from proxy.problem import Problem
from tests import models


def artifact(folder: Path, content: bytes) -> Artifact:
    (folder / "model.onnx").write_bytes(content)
    return load_artifact(folder, folder / "model.onnx")


@pytest.mark.parametrize(
    "content",
    [models.mlp(), models.strings(), models.two_inputs(), models.fixed_batch(), models.slow_loop(2**62),
     models.identity(TensorProto.BFLOAT16), models.identity(TensorProto.FLOAT16), models.identity(TensorProto.BOOL)],
    ids=["mlp", "strings", "two inputs", "fixed batch", "endless loop", "bfloat16", "float16", "bool"],
)  # fmt: skip
def test_a_model_that_loads_has_no_problem_and_is_not_run(tmp_path: Path, content: bytes) -> None:
    assert probe(artifact(tmp_path, content)) == []


def test_an_operator_without_a_kernel_is_told_with_the_runtimes_reason(tmp_path: Path) -> None:
    (problem,) = probe(artifact(tmp_path, models.add_one(TensorProto.BFLOAT16)))
    assert problem.what == "ONNX Runtime cannot load the model"
    assert "Add" in problem.why


def test_an_operator_that_does_not_exist_is_told(tmp_path: Path) -> None:
    (problem,) = probe(artifact(tmp_path, models.custom_domain("com.microsoft", "Teleport")))
    assert "Teleport" in problem.why


def test_a_graph_that_contradicts_its_declared_outputs_is_told(tmp_path: Path) -> None:
    lying = models.model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT64)],
        [models.tensor("x", TensorProto.FLOAT, ["batch"])],
        [models.tensor("y", TensorProto.FLOAT, ["batch"])],
    )
    assert probe(artifact(tmp_path, lying.SerializeToString())) != []


def test_onnx_runtime_keeps_no_record_of_what_it_does() -> None:
    # it opens a database of events for its makers, in the folder of the user who runs it, unless it is told not to
    script = (
        "import os; from proxy.models import probe; from tests.models import add_one;"
        "import onnxruntime; session = onnxruntime.InferenceSession(add_one());"
        "print([os.readlink(entry.path) for entry in os.scandir('/proc/self/fd') if os.path.exists(entry.path)])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert "onnxruntime.db" not in done.stdout


def test_a_missing_locale_is_the_machines_fault_and_not_the_models() -> None:
    said = "Failed to construct locale with name:xx_XX:locale::facet::_S_create_c_locale:Please, install\n"
    assert "Install the locale" in mend(said)
    assert mend("no kernel for Foo(1)") == "Export it for this runtime"
    assert "\n" not in str(Problem("it cannot be loaded", "m", said, mend(said)))
