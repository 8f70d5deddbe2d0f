"""Evasion attacks in a process of their own: `python -m loadtests.detection.attackers PLAN`.

PLAN is a pickled Plan. Prints a line of JSON, an Outcome, for each trial that has ended. Lanes run side by side, the
trials of a lane one after the other.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.detection import oracle, tables, toolbox, walks
from loadtests.detection.oracle import FULL, ROUNDED, TOP_CLASS, Identity, Oracle, OutOfTime, Over, Wire
from loadtests.detection.targets import Attack
from loadtests.detection.victims import Victim
from loadtests.detection.walks import Target

ADAPTIVE, DILUTED = "adaptive", "adaptive, diluted"
NATURAL_ROWS = 5  # that a diluted attack sends for each of its queries
NICE = ["nice", "-n", "19"]  # its CPU time is another machine's


@dataclass(frozen=True)
class Kind:
    """An attack by name. make: for a victim. norm: the distance that it goes by. guard: whether it knows the guard."""

    make: Callable[[Victim], Attack]
    norm: float = 2
    guard: bool = False
    natural: int = 0


def _adaptive(victim: Victim) -> Attack:
    return walks.Adaptive(victim.table.owned, tables.spacing(victim.table.owned))


ATTACKS = {
    "HopSkipJump (ART)": Kind(lambda _: toolbox.hop_skip_jump),
    "Boundary (ART)": Kind(lambda _: toolbox.boundary),
    "Square (ART)": Kind(lambda _: toolbox.square, np.inf),
    "ZOO (ART)": Kind(lambda _: toolbox.zoo),
    "Square": Kind(lambda _: walks.square),
    "ZOO": Kind(lambda _: walks.zoo),
    "NES": Kind(lambda _: walks.nes),
    ADAPTIVE: Kind(_adaptive, guard=True),
    DILUTED: Kind(_adaptive, guard=True, natural=NATURAL_ROWS),
}


@dataclass(frozen=True)
class Trial:
    """One attack on one row. model: the name that the victim is served by. keys: of the attacker's identities.

    per_second: 0 for as fast as it is answered.
    """

    victim: str
    model: str
    attack: str
    keys: Sequence[str]
    target: Target
    budget: int
    per_second: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """seconds: after which no trial begins, and those under way are cut off. late: as Wire's."""

    port: int
    victims: Mapping[str, Victim]
    lanes: Sequence[Sequence[Trial]]
    seconds: float = float("inf")
    late: float = float("inf")


@dataclass(frozen=True)
class Outcome:
    """Of a trial. after: queries until it succeeded, None where it did not. how: answers by what they were. nearest: of
    another label, relative to the distance that counts. place: in its lane, from 0. error: what ended it, mostly "".
    cut: it had not come to an end when the time was over."""

    victim: str
    attack: str
    identities: int
    after: int | None
    sent: int
    refused: int  # identities, and those whose answers were held back
    nearest: float
    how: Mapping[str, int]
    place: int
    error: str = ""
    cut: bool = False

    @property
    def told(self) -> int:
        """Rows that the model itself answered."""
        return sum(count for how, count in self.how.items() if how in (FULL, ROUNDED, TOP_CLASS))


def attempt(channel: Any, plan: Plan, trial: Trial, place: int = 0, ends: float = float("inf")) -> Outcome:
    """ends: on the monotonic clock."""
    victim = plan.victims[trial.victim]
    kind = ATTACKS[trial.attack]
    random = np.random.default_rng(trial.seed)
    natural = (victim.table.owned, kind.natural, random) if kind.natural else None
    wire = Wire(
        channel,
        trial.model,
        victim,
        [Identity(key) for key in trial.keys],
        per_second=trial.per_second,
        natural=natural,
        late=plan.late,
        ends=ends,
    )
    target = trial.target
    eps = target.eps if kind.norm == 2 else target.largest
    asked = Oracle(wire, victim, target.row, target.label, eps, trial.budget, kind.norm)
    error, cut = "", False
    try:
        kind.make(victim)(asked, target, random)
    except OutOfTime:
        cut = asked.succeeded_after is None
    except Over:
        pass
    except Exception as cause:  # noqa: BLE001 -- one that fails must not end the others; it is shown
        error = f"{type(cause).__name__}: {cause}"
    refused = len(trial.keys) - wire.identities_left
    nearest = float(asked.best / eps)
    return Outcome(
        trial.victim, trial.attack, len(trial.keys), asked.succeeded_after, wire.sent, refused, nearest,
        dict(asked.how), place, error, cut,
    )  # fmt: skip


def _lane(plan: Plan, trials: Sequence[Trial]) -> None:
    ends = time.monotonic() + plan.seconds
    with oracle.channel(plan.port) as channel:
        for place, trial in enumerate(trials):
            if time.monotonic() > ends:
                return
            outcome = attempt(channel, plan, trial, place, ends)
            sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
            sys.stdout.flush()


def run(plan: Plan, folder: Path) -> Iterator[Outcome]:
    """The outcomes as they come, from a process that ends with the last. Raises CalledProcessError."""
    file = folder / "attackers.plan"
    file.write_bytes(pickle.dumps(plan))
    command = [*NICE, sys.executable, "-m", "loadtests.detection.attackers", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield Outcome(**json.loads(line))
        finally:
            process.terminate() if process.poll() is None else None
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def main(file: Path) -> None:
    plan: Plan = pickle.loads(file.read_bytes())
    with ThreadPoolExecutor(len(plan.lanes)) as threads:
        for done in [threads.submit(_lane, plan, trials) for trials in plan.lanes]:
            done.result()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
