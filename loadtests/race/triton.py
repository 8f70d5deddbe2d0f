"""Triton's C++ front with its Python backend, from the nvidia-pytriton wheel, in an environment of its own.

`--with-triton` installs it (330 MB) into .cache/triton; where it is installed it races. The server runs directly,
without pytriton's own process behind it: one hop less, in its favour. The backend's stub needs libpython.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from loadtests.race.contestant import Absent, Contestant
from loadtests.race.ours import Start
from loadtests.tools import models
from loadtests.tools.process import Process, started

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".cache" / "triton"
WHEEL = "nvidia-pytriton==0.7.0"
# Server and backend are all that is used, so pytriton's own dependencies stay away. The backend is built for numpy 1:
# with numpy 2 it reads arrays as empty, and the detour through DLPack adds half to its cost. For Python 3.13
# there is no wheel of numpy 1; pip builds it, which takes minutes and a C++ compiler.
INSTALLS = ((WHEEL, "--no-deps"), ("numpy<2", "onnxruntime"))
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = HOME / "lib" / f"python{PYTHON}" / "site-packages"
SERVER = PACKAGES / "pytriton" / "tritonserver"
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
    if SERVER.is_dir():
        return
    print(f"installing {WHEEL} into {HOME.relative_to(ROOT)}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(HOME)], check=True)
    for arguments in INSTALLS:
        pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(HOME)
            raise Absent(f"pip could not install {arguments[0]}:\n{done.stderr[-2000:]}")


def prepare(folder: Path) -> Start:
    if not SERVER.is_dir():
        raise Absent("not installed: --with-triton installs it into .cache/triton (330 MB)")
    backends, stub = folder / "backends", SERVER / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
    _need_libraries(stub)
    shutil.copytree(SERVER / "backends", backends, symlinks=True)
    (backends / "python" / stub.name).symlink_to(stub)
    model = folder / "models" / models.MLP
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(CONFIGURATION)
    (model / "1" / "model.onnx").write_bytes(models.mlp())
    shutil.copyfile(Path(__file__).with_name("triton_model.py"), model / "1" / "model.py")

    def start(port: int) -> AbstractContextManager[Process]:
        options = {
            "model-repository": str(folder / "models"),
            "backend-directory": str(backends),
            "grpc-address": "127.0.0.1",
            "grpc-port": str(port),
            "allow-http": "false",
            "allow-metrics": "false",
            "log-verbose": "0",
        }
        command = [str(SERVER / "bin" / "tritonserver"), *(f"--{name}={value}" for name, value in options.items())]
        return started("Triton", command, {"RACE_PACKAGES": str(PACKAGES)})

    return start


def _need_libraries(binary: Path) -> None:
    listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True).stdout
    missing = [line.split()[0] for line in listed.splitlines() if line.endswith("not found")]
    if missing:
        raise Absent(f"it needs {', '.join(missing)} (Debian: apt-get install libpython{PYTHON})")


ABOUT = f"of {WHEEL}: C++ front, Python backend with the same ONNX model, dynamic batching, no guards"
TRITON = Contestant("Triton", ABOUT, prepare, share=0.4)
