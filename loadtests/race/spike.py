"""The transport spike: a throwaway server without any guard, whose cost is the floor of this design.

Its source is not part of this project: the environment variable MODELWARD_SHARED names a directory with `spike/` in it;
without the variable, a directory `shared` beside the project's is looked into.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.race.contestant import Absent, Contestant, expected_probabilities
from loadtests.race.ours import Start
from loadtests.tools import client, models
from loadtests.tools.process import Process, started
from modelward.rpc.protocol import message_class

ROOT = Path(__file__).parents[2]
BUILT = ROOT / ".cache" / "spike"


def source() -> Path:
    """The folder of the spike's source. Raises Absent."""
    folder = Path(os.environ.get("MODELWARD_SHARED", ROOT.parent / "shared")) / "spike"
    if not (folder / "setup.py").is_file():
        raise Absent("set MODELWARD_SHARED to a directory with spike/ in it")
    return folder


def build() -> Path:
    """The spike, compiled into .cache by its own setup.py once per version of its source."""
    folder, sources = source(), sorted(source().glob("*.py*"))
    current = all((BUILT / f.name).is_file() and (BUILT / f.name).read_bytes() == f.read_bytes() for f in sources)
    if current and any(BUILT.glob("transport_spike*.so")):
        return BUILT
    shutil.rmtree(BUILT, ignore_errors=True)
    BUILT.mkdir(parents=True)
    for file in sources:
        shutil.copyfile(folder / file.name, BUILT / file.name)
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"], cwd=BUILT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Absent(f"its build failed:\n{done.stderr[-2000:]}")
    return BUILT


def answer() -> bytes:
    """The framed answer that it repeats; it replaces the last eight bytes, the probabilities of the row."""
    response: Any = message_class("inference.ModelInferResponse")(model_name=models.MLP, model_version="1")
    probabilities = expected_probabilities()
    label = probabilities.argmax(axis=1).astype(np.int64)
    for name, datatype, array in (("label", "INT64", label), ("probabilities", "FP32", probabilities)):
        response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        response.raw_output_contents.append(array.tobytes())
    return client.framed(response.SerializeToString())


def prepare(folder: Path) -> Start:
    built = build()
    (folder / "model.onnx").write_bytes(models.mlp())
    (folder / "answer").write_bytes(answer())

    def start(port: int) -> AbstractContextManager[Process]:
        files = str(folder / "answer"), str(folder / "model.onnx")
        command = [sys.executable, str(built / "run.py"), str(port), "embedded", *files]
        return started("transport spike", command)

    return start


SPIKE = Contestant("transport spike", "the same transport and model, unchecked, no guards", prepare)
