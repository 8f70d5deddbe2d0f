"""Another tree of this project in the same rounds: what a change costs or saves."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from loadtests.race.contestant import Absent, Contestant
from loadtests.race.ours import OURS, REFUSING, all_guards, refusing
from loadtests.race.rounds import Lane
from loadtests.tools.h2load import Shape
from loadtests.tools.results import table

HELP = "another tree of this project with an environment (make build there): races too, and is compared round by round"
SUFFIX = ", other tree"


def command(tree: Path) -> tuple[str]:
    """What starts `modelward` of another tree. Raises Absent."""
    found = tree / ".venv" / "bin" / "modelward"
    if not found.is_file():
        raise Absent(f"{tree} has no .venv/bin/modelward: run `make build` there")
    return (str(found.absolute()),)


def embedded(tree: Path) -> list[Contestant]:
    """What the other tree answers and refuses with every guard on."""
    other = command(tree)
    return [
        named(replace(OURS, prepare=partial(all_guards, command=other))),
        named(replace(REFUSING, prepare=partial(refusing, command=other))),
    ]


def named(contestant: Contestant) -> Contestant:
    return replace(contestant, name=contestant.name + SUFFIX)


def ratios(lanes: Sequence[Lane]) -> list[tuple[str, Shape, float, float, float]]:
    """CPU time of this tree over that of the other: contestant, shape, median of the rounds' ratios, its quartiles."""
    others = {lane.contestant.name: lane for lane in lanes}
    found = []
    for lane in lanes:
        if (other := others.get(lane.contestant.name + SUFFIX)) is None:
            continue
        for shape, samples in lane.samples.items():
            of = [a.cpu_us / b.cpu_us for a, b in zip(samples, other.samples[shape], strict=True)]
            low, median, high = statistics.quantiles(of, n=4) if len(of) > 1 else of * 3
            found.append((lane.contestant.name, shape, median, low, high))
    return found


def compared(lanes: Sequence[Lane]) -> str:
    """A table of the ratios; empty where no other tree was there."""
    lines = [
        (name, str(shape), f"{median:.3f}", f"{low:.3f}-{high:.3f}") for name, shape, median, low, high in ratios(lanes)
    ]
    return table(("this tree over the other", "shape", "CPU ratio", "quartiles"), lines) if lines else ""
