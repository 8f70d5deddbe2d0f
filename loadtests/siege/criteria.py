"""What a siege has to show, in every phase and as a whole: fixed bounds, and the last sieges of the other peers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.siege.figures import MIB, Figures
from loadtests.siege.plan import QUIET
from loadtests.tools.results import FOLDER, Bar, table

SUCCESS = 99.9
MEMORY_MIB = 64.0
CHANCE_MS = 5.0  # one request of the model server: a phase's p99 moves by that with who happens to call at once
COMPARABLE = 0.99  # below, a p99 of those who were answered says nothing of the hundredth call


@dataclass(frozen=True)
class Past:
    """The last siege of another peer, as it was stored."""

    name: str
    whole: Figures
    phases: Mapping[str, Figures]  # by name

    @classmethod
    def of(cls, name: str, data: Mapping[str, Any]) -> Past:
        return cls(name, Figures(**data["whole"]), {phase["name"]: Figures(**phase) for phase in data["phases"]})


def past(peers: Mapping[str, str], folder: Path = FOLDER) -> list[Past]:
    """peers: names for people by names of files. Those that were never besieged are left out."""
    files = {name: folder / f"siege-{file}.json" for file, name in peers.items()}
    return [Past.of(name, json.loads(path.read_text())) for name, path in files.items() if path.exists()]


def bars(whole: Figures, phases: Sequence[Figures], others: Sequence[Past]) -> list[Bar]:
    """whole: all phases as one; it is held against the others' only where all of their phases were there."""
    quiet = next(f for f in phases if f.name == QUIET)
    found = [Bar("memory above what it was when quiet", (whole.memory - quiet.memory) / MIB, MEMORY_MIB, "MiB")]
    for of in (*phases, whole):
        found.append(Bar(f"{of.name}: honest calls that succeeded", 100 * of.success, SUCCESS, "%", at_most=False))
        found += [
            Bar(f"{of.name}: p99 of the honest, against {peer}", of.p99, p99, "ms")
            for peer, p99 in _latencies(of, phases, others)
        ]
    return found


def _latencies(of: Figures, phases: Sequence[Figures], others: Iterable[Past]) -> list[tuple[str, float]]:
    """What the p99 of a phase or of the whole may be in ms: that of each other peer, in a phase with what is chance."""
    found = []
    for peer in others:
        if of in phases:
            then = peer.phases.get(of.name)
            if then and then.success >= COMPARABLE:
                found.append((peer.name, then.p99 + CHANCE_MS))
        elif {f.name for f in phases} == set(peer.phases):
            found.append((peer.name, peer.whole.p99))
    return found


def verdict(judged: Sequence[Bar]) -> list[str]:
    """Lines: how many bars were reached, and each that was not."""
    missed = [str(bar) for bar in judged if not bar.reached]
    return [f"bars reached: {len(judged) - len(missed)} of {len(judged)}", *missed]


def comparison(whole: Figures, phases: Sequence[Figures], others: Sequence[Past]) -> str:
    """A table: success and p99 of the honest in every phase, here and through the others."""
    columns = ["phase", "succeeded %", *(f"{p.name} %" for p in others), "p99 ms", *(f"{p.name} ms" for p in others)]
    rows = []
    for of in (*phases, whole):
        then = [peer.phases.get(of.name) if of in phases else peer.whole for peer in others]
        success = [f"{100 * f.success:.2f}" if f else "" for f in (of, *then)]
        rows.append([of.name, *success, *(f"{f.p99:.1f}" if f else "" for f in (of, *then))])
    return table(columns, rows)
