"""Triton with models of its Python backend."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from loadtests.tools import tritonserver
from loadtests.tools.process import Process
from tests.peers.peer import Kind, Start


def _config(input_: str, output: str, *more: str, extra: str = "") -> str:
    return f"""
backend: "python"
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
input [ {{ name: "x" {input_} }}{extra} ]
output [ {{ name: "y" {output} }} ]
{chr(10).join(more)}
"""


ROW = "data_type: TYPE_FP32 dims: [ 4 ]"
COUNT = "data_type: TYPE_INT32 dims: [ 1, 1 ]"
BATCHES = "max_batch_size: 8"
ENSEMBLE = f"""
platform: "ensemble"
{BATCHES}
input [ {{ name: "x" {ROW} }} ]
output [ {{ name: "y" {ROW} }} ]
ensemble_scheduling {{
  step [
    {{ model_name: "add" model_version: -1
       input_map {{ key: "x" value: "x" }} output_map {{ key: "y" value: "one" }} }},
    {{ model_name: "addend" model_version: -1
       input_map {{ key: "x" value: "one" }} output_map {{ key: "y" value: "y" }} }}
  ]
}}
"""
# broken: it cannot be loaded, and the index tells of it. addend: what is added may be left out. twice: both of them.
MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "add": (_config(ROW, ROW, BATCHES, "dynamic_batching { }", "version_policy { all { } }"), ("1", "2")),
    "slow": (_config(ROW, ROW, BATCHES), ("1",)),
    "repeat": (_config(COUNT, COUNT, "model_transaction_policy { decoupled: true }"), ("1",)),
    "addend": (_config(ROW, ROW, BATCHES, extra=f', {{ name: "by" {ROW} optional: true }}'), ("1",)),
    "broken": (_config(ROW, ROW), ("1",)),
    "twice": (ENSEMBLE, ("1",)),
}


def prepare(folder: Path) -> Start:
    tritonserver.prepare_backends(folder / "backends")
    for name, (config, versions) in MODELS.items():
        for version in versions:
            (folder / "models" / name / version).mkdir(parents=True)
            program = folder / "models" / name / version / "model.py"
            shutil.copyfile(Path(__file__).with_name("triton_model.py"), program)
        (folder / "models" / name / "config.pbtxt").write_text(config)

    def start(port: int) -> AbstractContextManager[Process]:
        return tritonserver.serve(
            folder / "models", folder / "backends", port, exit_on_error="false", strict_readiness="false"
        )

    return start


SERVED = tuple((name, version) for name, (_, versions) in sorted(MODELS.items()) for version in versions)
TRITON = Kind("Triton", prepare, tuple(model for model in SERVED if model[0] != "broken"))
