"""Triton's C++ front with its Python backend.

`--with-triton` installs it (scripts/peers); where it is installed it races. It runs without pytriton's own process
behind it: one hop less, in its favour.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from loadtests.race.contestant import Absent, Contestant
from loadtests.race.ours import Start
from loadtests.tools import models, tritonserver
from loadtests.tools.process import Process

BATCHING_DELAY_US = 0  # what is there runs: any delay would be added to each request of one stream

CONFIGURATION = f"""
backend: "python"
max_batch_size: 256
dynamic_batching {{ max_queue_delay_microseconds: {BATCHING_DELAY_US} }}
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
input [ {{ name: "X" data_type: TYPE_FP32 dims: [ {models.FEATURES} ] }} ]
output [
  {{ name: "label" data_type: TYPE_INT64 dims: [ 1 ] reshape: {{ shape: [ ] }} }},
  {{ name: "probabilities" data_type: TYPE_FP32 dims: [ {models.LAYERS[-1]} ] }}
]
"""


def install() -> None:
    """Makes .cache/triton, once. Raises Absent with what pip said."""
    done = subprocess.run(
        [tritonserver.ROOT / "scripts" / "peers", "triton"], capture_output=True, text=True, check=True
    )
    if not tritonserver.SERVER.is_dir():
        raise Absent(done.stdout)


def prepare(folder: Path) -> Start:
    tritonserver.prepare_backends(folder / "backends")
    model = folder / "models" / models.MLP
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(CONFIGURATION)
    (model / "1" / "model.onnx").write_bytes(models.mlp())
    shutil.copyfile(Path(__file__).with_name("triton_model.py"), model / "1" / "model.py")

    def start(port: int) -> AbstractContextManager[Process]:
        return tritonserver.serve(folder / "models", folder / "backends", port)

    return start


ABOUT = "of the nvidia-pytriton wheel: C++ front, Python backend with the same ONNX model, dynamic batching, no guards"
TRITON = Contestant("Triton", ABOUT, prepare, share=0.4)
