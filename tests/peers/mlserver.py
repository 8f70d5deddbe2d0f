"""MLServer with models of a runtime of ours."""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from loadtests.race.contestant import Absent
from loadtests.tools.process import Process, free_ports, started
from tests.peers.peer import Kind, Start

HOME = Path(__file__).parents[2] / ".cache" / "mlserver"
PROGRAM = HOME / "bin" / "mlserver"
VERSION = "v0.1.0"


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape}


ROWS = {"inputs": [_tensor("x", "FP32", [-1, 4])], "outputs": [_tensor("y", "FP32", [-1, 4])]}
COUNT = {"inputs": [_tensor("x", "INT32", [1, 1])], "outputs": [_tensor("y", "INT32", [1, 1])]}
# what it calls versions are those of the libraries that a model was trained with; plain: add without a version
MODELS: dict[str, dict[str, object]] = {
    "add": {"implementation": "runtime.Add", "parameters": {"version": VERSION}, "versions": ["sklearn/1.5"], **ROWS},
    "plain": {"implementation": "runtime.Add", **ROWS},
    "slow": {"implementation": "runtime.Slow", **ROWS},
    "repeat": {"implementation": "runtime.Repeat", **COUNT},
}


def prepare(folder: Path) -> Start:
    if not (HOME / "installed").exists():
        raise Absent("MLServer is not installed: scripts/peers mlserver installs it into .cache/mlserver (330 MB)")
    for name, settings in MODELS.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **settings}))
        shutil.copyfile(Path(__file__).with_name("mlserver_runtime.py"), folder / name / "runtime.py")

    def start(port: int) -> AbstractContextManager[Process]:
        settings = {
            "host": "127.0.0.1",
            "grpc_port": port,
            "http_port": free_ports(1)[0],
            "metrics_endpoint": None,
            "parallel_workers": 0,  # it streams only without
            "debug": False,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        return started("MLServer", [str(HOME / "bin" / "python"), str(PROGRAM), "start", str(folder)])

    return start


MLSERVER = Kind("MLServer", prepare, (("add", VERSION), ("plain", ""), ("repeat", ""), ("slow", "")))
