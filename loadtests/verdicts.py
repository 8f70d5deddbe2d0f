"""`python -m loadtests.verdicts`: what a running server says of shadows whose truth is known, and when."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import Progress

from loadtests.tools import client, machine, models, results
from loadtests.tools.process import free_ports
from loadtests.tools.results import Bar, table
from loadtests.tools.server import Server, serving
from tests.models import BATCH, model, tensor

FLIPS, NOISY = "flips", "noisy"
PAIRS = 20_000
LOOKS = 20
MOST_TIMES = 10
AT_ONCE = 32
BOUND = 0.005
FLIPPED_BELOW = -2.3263  # of the first input, a standard normal number: one request of a hundred
NOISE = 0.05  # standard deviation, on each score before the softmax

METHOD = f"""\
Two models, two workers, every request mirrored and counted (`warmup: 0`), different rows of standard normal numbers,
until each shadow has {PAIRS:,} pairs. Of `{FLIPS}` version 2 gives the other label for one request of a hundred, and
its bound is a disagreement of {BOUND:.1%}; version 1 shadows itself. `{NOISY}` adds noise to its scores, so that it
disagrees with itself; version 2 is the same file. After every {PAIRS // LOOKS:,} requests `modelward shadow report
MODEL --json` is asked; "since" is how many pairs there were when it first said what it says in the end. On a busy
machine more requests are needed: what is dropped is no pair."""


@dataclass
class Said:
    """Of one shadow: the verdict at each look, and the pairs that it was from."""

    model: str
    shadow: str
    verdicts: list[str]
    pairs: list[int]
    disagreement: float = 0.0

    @property
    def last(self) -> str:
        return self.verdicts[-1]

    @property
    def since(self) -> int:
        first = next(i for i in range(len(self.verdicts)) if set(self.verdicts[i:]) == {self.last})
        return self.pairs[first]


def classifier(*, flips: bool = False, noisy: bool = False, seed: int = 0) -> bytes:
    """X FP32 [batch, 30] -> label INT64 [batch], probabilities FP32 [batch, 2]."""
    rng = np.random.default_rng(seed)
    constants = {
        "w": rng.normal(size=(models.FEATURES, 2)).astype(np.float32),
        "edge": np.float32(FLIPPED_BELOW if flips else -np.inf),
        "first": np.array([0], np.int64),
        "swapped": np.array([1, 0], np.int64),
        "sigma": np.float32(NOISE if noisy else 0),
    }
    nodes = [
        helper.make_node("MatMul", ["X", "w"], ["scores"]),
        *([helper.make_node("RandomNormalLike", ["scores"], ["normal"])] if noisy else []),
        *([helper.make_node("Mul", ["normal", "sigma"], ["noise"])] if noisy else []),
        *([helper.make_node("Add", ["scores", "noise"], ["sum"])] if noisy else []),
        helper.make_node("Softmax", ["sum" if noisy else "scores"], ["plain"], axis=1),
        helper.make_node("Gather", ["X", "first"], ["column"], axis=1),
        helper.make_node("Less", ["column", "edge"], ["flipped"]),
        helper.make_node("Gather", ["plain", "swapped"], ["other"], axis=1),
        helper.make_node("Where", ["flipped", "other", "plain"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    encoded: bytes = model(
        nodes,
        [tensor("X", TensorProto.FLOAT, [BATCH, models.FEATURES])],
        [tensor("label", TensorProto.INT64, [BATCH]), tensor("probabilities", TensorProto.FLOAT, [BATCH, 2])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    ).SerializeToString()
    return encoded


def prepare(folder: Path) -> dict[str, Any]:
    """The repository, and the settings of a server of it."""
    files = {
        FLIPS: (classifier(), classifier(flips=True)),
        NOISY: (classifier(noisy=True), classifier(noisy=True)),
    }
    for name, versions in files.items():
        for number, data in enumerate(versions, 1):
            (folder / "models" / name / str(number)).mkdir(parents=True)
            (folder / "models" / name / str(number) / "model.onnx").write_bytes(data)
    bounds = {FLIPS: {"disagreement": BOUND}, NOISY: {}}
    shadow = {
        name: [{"version": "2", "warmup": 0, "bounds": bounds[name]}, {"version": "1", "warmup": 0}] for name in files
    }
    return {
        "repository": str(folder / "models"),
        "state": str(folder / "state"),
        "models": {name: {"versions": {"1": 1}, "shadow": shadow[name]} for name in files},
    }


async def send(port: int, requests: int, seed: int) -> None:
    """Sends `requests` different requests to each model, over some connections. Raises AioRpcError where one fails."""
    rng = np.random.default_rng(seed)
    left = iter(range(requests))

    async def caller() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client.OPTIONS) as channel:
            infer = channel.unary_unary(client.INFER)
            for _ in left:
                row = rng.normal(size=(1, models.FEATURES)).astype(np.float32)
                for name in (FLIPS, NOISY):
                    await infer(client.request(name, {"X": row}).SerializeToString())

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))


def ask(server: Server, admin: int, said: dict[tuple[str, str], Said]) -> None:
    """What it says now. Raises CalledProcessError."""
    for name in (FLIPS, NOISY):
        command = [
            sys.executable,
            "-m",
            "modelward",
            "shadow",
            "report",
            name,
            "--json",
            "--admin",
            f"127.0.0.1:{admin}",
        ]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        for shadow in json.loads(told.stdout)["shadows"]:
            if shadow["primary"] != "1":
                continue
            one = said.setdefault((name, shadow["shadow"]), Said(name, shadow["shadow"], [], []))
            one.verdicts.append(shadow["verdict"])
            one.pairs.append(shadow["pairs"])
            one.disagreement = shadow["labels"]["differ"] / max(shadow["labels"]["compared"], 1)


def measure(pairs: int, made: Callable[[int], None]) -> list[Said]:
    """Until every shadow has `pairs` pairs, or MOST_TIMES as many requests have not brought them."""
    said: dict[tuple[str, str], Said] = {}
    with tempfile.TemporaryDirectory(prefix="modelward-verdicts-") as name:
        folder, admin = Path(name), free_ports(1)[0]
        with serving(folder, prepare(folder), workers=2, admin=f"127.0.0.1:{admin}") as server:
            for look in range(LOOKS * MOST_TIMES):
                asyncio.run(send(server.grpc, pairs // LOOKS, look))
                ask(server, admin, said)
                made(least := min(one.pairs[-1] for one in said.values()))
                if least >= pairs:
                    break
    return list(said.values())


def bars(said: list[Said], pairs: int) -> list[Bar]:
    by = {(one.model, one.shadow): one for one in said}
    flips, noisy = by[FLIPS, "2"], by[NOISY, "2"]
    worse = flips.since if flips.last == "worse" else float("inf")
    itself = sum("worse" in by[name, "1"].verdicts for name in (FLIPS, NOISY))
    return [
        Bar("a shadow that flips 1 % of labels is called worse after", worse, pairs, "pairs"),
        Bar("versions that shadow themselves are called worse", itself, 0, "of 2"),
        Bar("a noisy model is equivalent to its own copy", float(noisy.last == "equivalent"), 1, "of 1", at_most=False),
    ]


def report(said: list[Said]) -> str:
    rows = [
        (
            f"{one.model}, shadow {one.shadow}",
            f"{one.pairs[-1]:,}",
            f"{one.disagreement:.2%}",
            one.last,
            f"{one.since:,}",
        )
        for one in said
    ]
    return table(("model", "pairs", "labels that differ", "verdict", "since"), rows)


def main() -> int:
    """0 if every shadow is called what it is."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.verdicts", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of each shadow (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("pairs", total=arguments.pairs)
        said = measure(arguments.pairs, lambda made: progress.update(task, completed=made))
    judged = bars(said, arguments.pairs)
    text = "\n".join([report(said), "", *(f"- {bar}" for bar in judged)])
    facts = machine.facts()
    data = {**facts, "shadows": [asdict(one) for one in said], "bars": {bar.name: bar.figure for bar in judged}}
    print(json.dumps(data, indent=1) if arguments.json else text)
    if arguments.write:
        command = machine.command("loadtests.verdicts")
        results.write("verdicts", results.document("Verdicts on shadows", METHOD, facts, command, text), data)
    return 0 if all(bar.reached for bar in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
