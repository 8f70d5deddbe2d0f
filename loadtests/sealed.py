"""`python -m loadtests.sealed`: how long a server takes to start with a model of 500 MB, sealed and plain."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyrage
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import Progress

from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table
from loadtests.tools.server import serving
from modelward.sealing import keys
from tests import models

MODEL = "table"
COLUMNS = 64
MEGABYTES = 500
ROUNDS = 9
SLOWER = 1.10

METHOD = """\
A model of 500 MB of random weights, which does nearly nothing with them: what is measured is the start. A server of one
worker is started with it, plain and sealed in turn, after one start of each that does not count. The time is that from
the start of the process until its worker is ready, and the medians are compared. Files are in the page cache."""


def lookup(megabytes: int) -> bytes:
    """x FP32 [batch] -> a row of a table of weights."""
    rows = megabytes * 1_000_000 // (4 * COLUMNS)
    weights = np.random.default_rng(0).random((rows, COLUMNS), dtype=np.float32)
    bounds = [("low", np.float32(0)), ("high", np.float32(rows - 1))]
    model = models.model(
        [
            helper.make_node("Clip", ["x", "low", "high"], ["inside"]),
            helper.make_node("Cast", ["inside"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["weights", "index"], ["y"]),
        ],
        [models.tensor("x", TensorProto.FLOAT, ["batch"])],
        [models.tensor("y", TensorProto.FLOAT, ["batch", COLUMNS])],
        [numpy_helper.from_array(weights, "weights")]
        + [numpy_helper.from_array(np.array(value), name) for name, value in bounds],
    )
    return bytes(model.SerializeToString())


def repositories(folder: Path, megabytes: int) -> dict[str, dict[str, Any]]:
    """The model plain and sealed: settings of a server by the name of its kind."""
    identity = pyrage.x25519.Identity.generate()
    (folder / "key").write_text(str(identity))
    plain = lookup(megabytes)
    sealed = keys.seal(plain, [identity.to_public()])
    found: dict[str, dict[str, Any]] = {}
    for kind, data in (("plain", plain), ("sealed", sealed)):
        found[kind] = {
            "repository": str(models.repository(folder / kind, {MODEL: data})),
            "state": str(folder / "state"),
        }
    found["sealed"]["sealing"] = {"identities": [{"file": str(folder / "key")}], "require": ["*"]}
    return found


def start_seconds(folder: Path, settings: dict[str, Any]) -> float:
    began = time.monotonic()
    with serving(folder, settings):
        return time.monotonic() - began


def measure(rounds: int, megabytes: int) -> dict[str, list[float]]:
    with (
        tempfile.TemporaryDirectory(prefix="modelward-sealed-") as name,
        Progress(console=Console(stderr=True)) as shown,
    ):
        folder = Path(name)
        settings = repositories(folder, megabytes)
        task = shown.add_task("starts", total=2 * (rounds + 1))
        found: dict[str, list[float]] = {kind: [] for kind in settings}
        for number in range(rounds + 1):
            kinds: Sequence[str] = [*settings] if number % 2 else [*settings][::-1]
            for kind in kinds:
                seconds = start_seconds(folder, settings[kind])
                shown.advance(task)
                if number:
                    found[kind].append(seconds)
    return found


def main() -> int:
    """0 if the sealed model starts within the bar."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.sealed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--megabytes", type=int, default=MEGABYTES)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace loadtests/results/sealed.md and sealed.json")
    arguments = parser.parse_args()
    found = measure(arguments.rounds, arguments.megabytes)
    median = {kind: statistics.median(seconds) for kind, seconds in found.items()}
    bar = Bar("start with the sealed model over the plain one", median["sealed"] / median["plain"], SLOWER, "times")
    rows = [
        (kind, f"{median[kind]:.2f}", f"{min(seconds):.2f}", f"{max(seconds):.2f}") for kind, seconds in found.items()
    ]
    body = "\n".join([table(("model", "median s", "shortest s", "longest s"), rows), "", f"- {bar}"])
    facts = machine.facts()
    data = {**facts, "seconds": found, **median, "ratio": bar.figure, "bound": SLOWER, "reached": bar.reached}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.sealed")
        results.write("sealed", results.document("Starts with a sealed model", METHOD, facts, command, body), data)
    return 0 if bar.reached else 1


if __name__ == "__main__":
    sys.exit(main())
