"""Modelward itself: with every guard on, with none, and refusing everything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from loadtests.race.contestant import REFUSED, Contestant
from loadtests.tools import client, models
from loadtests.tools.process import Process, free_ports, started
from loadtests.tools.server import api_key

# far above any load: every level is looked up and charged, none refuses
AMPLE = {"rate": "10000000/s", "burst": 1_000_000}
AMPLE_TIME = {"time": "1000s/s", "burst": "1000s"}
STARVED = {"rate": "1/h", "burst": 1}

Start = Callable[[int], AbstractContextManager[Process]]
THIS_TREE = (sys.executable, "-m", "modelward")


def all_guards(folder: Path, command: Sequence[str] = THIS_TREE) -> Start:
    limits = {"peer": AMPLE, "identity": AMPLE, "total": AMPLE}
    return _serving(folder, {"limits": limits, "models": {models.MLP: guarded(folder)}}, command)


def identified(folder: Path) -> dict[str, Any]:
    """Settings with which every call must bring a key of `caller`, and pays at two levels with backend time."""
    keys = folder / "keys"
    (folder / "key").write_text(api_key(keys, "caller"))
    return {
        "access": {"keys": str(keys), "rules": [{"identity": "caller", "models": ["*"]}]},
        "limits": {"peer": AMPLE, "identity": AMPLE_TIME, "total": AMPLE_TIME},
    }


def key_of_caller(folder: Path) -> client.Metadata:
    return [("x-api-key", (folder / "key").read_text())]


def everything(folder: Path, command: Sequence[str] = THIS_TREE) -> Start:
    return _serving(folder, {"models": {models.MLP: guarded(folder)}, **identified(folder)}, command)


SAMPLED = {"capture": {"share": 0.01}, "drift": {"share": 0.01}}


def watched(folder: Path, also: Mapping[str, Any] = {}) -> Start:
    outputs = {"probabilities": {"classes": True, "finite": True, "range": [0, 1], "sum": 1}}
    of_model = {**guarded(folder), "outputs": outputs, "detection": {"mode": "act"}, **also}
    state = {"state": str(folder / "state")}
    return _serving(folder, {"models": {models.MLP: of_model}, **identified(folder), **state})


def guarded(folder: Path) -> dict[str, Any]:
    """Settings of the model with every guard that it can have."""
    models.save_profile(folder / "profile.npz")
    return {
        "deadline": "1s",
        "limit": AMPLE,
        "admission": {"concurrency": "adaptive"},
        "fallback": [{"value": {"label": [0], "probabilities": [[0.5, 0.5]]}}],
        "anomaly": {"profile": str(folder / "profile.npz"), "mode": "observe", "false_positive_rate": 0.001},
    }


def no_guards(folder: Path) -> Start:
    return _serving(folder, {})


def refusing(folder: Path, command: Sequence[str] = THIS_TREE) -> Start:
    return _serving(folder, {"limits": {"peer": STARVED}}, command)


def _serving(folder: Path, settings: Mapping[str, Any], command: Sequence[str] = THIS_TREE) -> Start:
    repository = folder / "models"
    version = repository / models.MLP / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(models.mlp())
    return lambda port: serve(folder / "config.yaml", {"repository": str(repository), **settings}, port, command)


def serve(
    config: Path, settings: Mapping[str, Any], port: int, command: Sequence[str] = THIS_TREE
) -> AbstractContextManager[Process]:
    """`modelward serve` with these settings, written to `config`, on 127.0.0.1:port."""
    http = free_ports(1)[0]
    listen = {"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{http}", "admin": "off"}
    config.write_text(yaml.safe_dump({"listen": listen, **settings}))
    return started("modelward", [*command, "serve", "--config", str(config), "--log-level", "warning"])


OURS = Contestant("modelward", "every guard on: four limits, scan, score, deadline, fallback, metrics", all_guards)
EVERYTHING = Contestant(
    "modelward, identities and budgets",
    "every guard on, an API key on every call, limits of identity and total in backend time, adaptive admission",
    everything,
    metadata=key_of_caller,
)
WATCHED = Contestant(
    "modelward, all of that watched",
    "as the line before; evidence against identities, guards of the output",
    watched,
    metadata=key_of_caller,
)
SAMPLING = Contestant(
    "modelward, all of that sampled",
    "as the line before; capture and drift of 1 % of the requests",
    partial(watched, also=SAMPLED),
    metadata=key_of_caller,
)
BARE = Contestant("modelward, no guards", "no limit, no profile, no deadline", no_guards)
REFUSING = Contestant("modelward, refusing", "peer limit used up", refusing, status=REFUSED)
