"""Triton's own server with its Python backend, from the nvidia-pytriton wheel, in an environment of its own.

`scripts/peers triton` installs it (270 MB) into .cache/triton. The server runs directly, without pytriton's own process
behind it. The backend's stub needs libpython.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from loadtests.race.contestant import Absent
from loadtests.tools.process import Process, started

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".cache" / "triton"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = HOME / "lib" / f"python{PYTHON}" / "site-packages"
SERVER = PACKAGES / "pytriton" / "tritonserver"
OPTIONS = {"allow-http": "false", "allow-metrics": "false", "log-verbose": "0"}


def prepare_backends(folder: Path) -> None:
    """Makes `folder` the Python backend for this interpreter. Raises Absent with how it could be."""
    if not SERVER.is_dir():
        raise Absent("Triton is not installed: scripts/peers triton installs it into .cache/triton (270 MB)")
    stub = SERVER / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
    listed = subprocess.run(["ldd", str(stub)], capture_output=True, text=True, check=True).stdout
    missing = [line.split()[0] for line in listed.splitlines() if line.endswith("not found")]
    if missing:
        raise Absent(f"Triton needs {', '.join(missing)} (Debian: apt-get install libpython{PYTHON})")
    shutil.copytree(SERVER / "backends", folder, symlinks=True)
    (folder / "python" / stub.name).symlink_to(stub)


def serve(models: Path, backends: Path, port: int, **more: str) -> AbstractContextManager[Process]:
    """Starts it on a port of 127.0.0.1. Its models find the folder of their packages in TRITON_PACKAGES."""
    where = {"model-repository": models, "backend-directory": backends, "grpc-address": "127.0.0.1", "grpc-port": port}
    options = where | OPTIONS | {name.replace("_", "-"): value for name, value in more.items()}
    command = [str(SERVER / "bin" / "tritonserver"), *(f"--{name}={value}" for name, value in options.items())]
    return started("Triton", command, {"TRITON_PACKAGES": str(PACKAGES)})
