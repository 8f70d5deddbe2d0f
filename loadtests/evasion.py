"""`python -m loadtests.evasion`: how often attackers find a row near theirs that the model mistakes, and how soon."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from loadtests.detection import attackers, crowd, tables, toolbox, victims
from loadtests.detection.arena import Arena, arena, folder
from loadtests.detection.attackers import ATTACKS, Outcome, Plan, Trial
from loadtests.detection.crowd import Crowd, Stream
from loadtests.detection.suspects import Watcher
from loadtests.detection.targets import BUDGET, targets
from loadtests.detection.victims import Victim
from loadtests.detection.walks import Target
from loadtests.detection.warming import warm
from loadtests.tools import machine, results
from loadtests.tools.progress import Told, progress
from loadtests.tools.results import Bar, table

VICTIMS = ("magic-mlp", "cardio-mlp", "annthyroid-mlp", "pageblocks-mlp", "spambase-logistic", "digits-mlp")
TARGETS, QUICK = 4, 1
IDENTITIES = (1, 10, 100)
COPIES, QUICK_COPIES = 6, 3  # models of each victim: an attack is alone in its model
PER_SECOND = 20.0
TENANTS = 200  # of each model, each with a request a second
MINUTES, QUICK_MINUTES = 45.0, 8.0  # of the guarded part; attacks that have not ended by then are left out
UNGUARDED_PERCENT, GUARDED_PERCENT, ADAPTIVE_PERCENT = 90.0, 10.0, 25.0
FOR_IMAGES = ("Square (ART)", "ZOO (ART)")
DETECTION: Mapping[str, Any] = {"mode": "act"}
LATE_SECONDS = 0.9  # the guard holds answers for a second at least

Aims = Sequence[tuple[Victim, Sequence[Target]]]


@dataclass(frozen=True)
class Scale:
    """copies: models of each victim. minutes: of warming and attacks together."""

    copies: int
    minutes: float


METHOD = f"""\
Victims are classifiers that `modelward serve` runs as ONNX models; attackers ask over gRPC, in a process of their
own. Those marked ART are the adversarial-robustness-toolbox's, which sees a black box; the others are ours. A success
is a row of another label, as answered and in truth, within {BUDGET:,} queries and within a distance: 1.2 times that
of the nearest row that HopSkipJump finds with all its queries and no guard (Euclidean, of standardised features;
Square (ART) goes by the largest difference in any feature). Rows where half the way to the nearest real row of
another label is less than that are no targets. Where there are two labels, three of four targets have the rarer one.
After: the median number of queries of those that succeeded. Square (ART) and ZOO (ART) are made for images and miss
some rows of tables with all their queries: without a guard there is no bar for them.

Guarded: `detection: {{mode: act}}`. Each attack asks {PER_SECOND:.0f} times a second, from 1, 10 or 100 identities in
turn that have not been seen before, while {TENANTS} honest tenants ask once a second each; before, the guard has seen
rows of theirs until all its signals count. Each victim is served as {COPIES} models, in which one attack follows the
other; "first" counts those alone that were the first in their model. Told: the median number of queries that the
model itself answered. An identity that is refused, or whose answers are held back, asks no more; an attack ends when
none is left, or after 400 rows in a row without the model's own answer. Attacks that have not ended when the time is
over are in no figure."""


@dataclass(frozen=True)
class Guarded:
    """outcomes: of attacks that ended. cut: that were under way when the time was over. planned: in all. restricted:
    honest tenants."""

    outcomes: Sequence[Outcome] = ()
    cut: int = 0
    planned: int = 0
    restricted: int = 0

    def __str__(self) -> str:
        left = self.planned - len(self.outcomes) - self.cut
        return (
            f"Of {self.planned:,} guarded attacks {len(self.outcomes):,} ended; {self.cut:,} were under way when the "
            f"time was over, and {left:,} had not begun."
        )


def unguarded(running: Arena, aims: Aims, attacks: Sequence[str], folder: Path) -> Iterator[Outcome]:
    """Each attack on each row, as fast as it is answered."""
    keys = [running.keys["attacker"]]
    lane = [
        Trial(victim.name, victim.name, attack, keys, target, BUDGET, seed=seed)
        for victim, found in aims
        for seed, target in enumerate(found)
        for attack in attacks
    ]
    yield from attackers.run(Plan(running.server.grpc, {victim.name: victim for victim, _ in aims}, [lane]), folder)


def guarded(place: Path, aims: Aims, attacks: Sequence[str], told: Told, scale: Scale) -> Guarded:
    """place: for the server's files. told: gets what happens."""
    ends = time.monotonic() + scale.minutes * 60
    known = {victim.name: victim for victim, _ in aims}
    lanes = {
        f"{victim.name}-{copy}": _lane(f"{victim.name}-{copy}", victim, trials)
        for victim, found in aims
        for copy, trials in enumerate(_dealt(found, attacks, scale.copies))
    }
    models = {model: known[model.rpartition("-")[0]] for model in lanes}
    tenants = [f"tenant-{i}" for i in range(TENANTS)]
    strangers = [name for lane in lanes.values() for trial in lane for name in trial.keys]
    outcomes: list[Outcome] = []
    planned = sum(map(len, lanes.values()))
    with arena(place, models, [*tenants, *strangers], DETECTION) as running:
        port, keys = running.server.grpc, [running.keys[tenant] for tenant in tenants]
        streams = [Stream(model, victim.table, keys, seed) for seed, (model, victim) in enumerate(models.items())]
        warm(running.server, streams, told)
        ready = [
            [replace(trial, keys=[running.keys[name] for name in trial.keys]) for trial in lane]
            for lane in lanes.values()
        ]
        with (
            Watcher(running.admin) as watcher,
            Crowd(crowd.Plan(port, streams, per_second=1.0), place),
        ):
            for outcome in attackers.run(Plan(port, known, ready, ends - time.monotonic(), LATE_SECONDS), place):
                outcomes.append(outcome)
                told(_standing(outcomes, planned))
    ended = [outcome for outcome in outcomes if not outcome.cut]
    restricted = {key for key, suspect in watcher.suspects.items() if key[0] in set(tenants) and suspect.restricted}
    return Guarded(ended, len(outcomes) - len(ended), planned, len(restricted))


def _standing(outcomes: Sequence[Outcome], planned: int) -> str:
    """How many attacks are over, and which succeed how often, so far."""
    rates = []
    for attack in sorted({outcome.attack for outcome in outcomes}):
        of_it = _of(outcomes, attack)
        rates.append(f"{attack} {sum(outcome.after is not None for outcome in of_it)}/{len(of_it)}")
    return f"{len(outcomes)} of {planned} attacks are over: {', '.join(rates)}"


Dealt = Sequence[tuple[str, int, int, Target]]  # attack, identities, seed, row


def _dealt(found: Sequence[Target], attacks: Sequence[str], copies: int) -> list[Dealt]:
    """Every attack on every row from every number of identities, in an order drawn at random, to so many models."""
    all_of_them = [
        (attack, identities, seed, target)
        for seed, target in enumerate(found)
        for identities in IDENTITIES
        for attack in attacks
    ]
    order = np.random.default_rng(len(all_of_them)).permutation(len(all_of_them)).tolist()
    return [[all_of_them[i] for i in order[copy::copies]] for copy in range(copies)]


def _lane(model: str, victim: Victim, dealt: Dealt) -> list[Trial]:
    """keys of its trials: names of identities that are used once."""
    return [
        Trial(
            victim.name, model, attack, [f"attacker-{model}-{place}-{i}" for i in range(identities)], target, BUDGET,
            PER_SECOND, seed,
        )
        for place, (attack, identities, seed, target) in enumerate(dealt)
    ]  # fmt: skip


def success(outcomes: Sequence[Outcome]) -> float:
    """In percent."""
    return 100 * sum(outcome.after is not None for outcome in outcomes) / len(outcomes)


def stored() -> list[Outcome]:
    """The unguarded ones of the last result that is written."""
    return [Outcome(**each) for each in json.loads((results.FOLDER / "evasion.json").read_text())["outcomes"]]


def report(outcomes: Sequence[Outcome], guard: Guarded) -> str:
    """By attack: unguarded for each victim, then guarded for each number of identities."""
    ended = guard.outcomes
    names, rows = list(dict.fromkeys(outcome.victim for outcome in outcomes)), []
    for attack in dict.fromkeys(outcome.attack for outcome in outcomes):
        of_it = _of(outcomes, attack)
        each = [_percent([o for o in of_it if o.victim == name]) for name in names]
        rows.append((attack, *each, _percent(of_it), _median([o.after for o in of_it if o.after is not None])))
    parts = ["Success in percent, unguarded:", table(("attack", *names, "all", "after"), rows)]
    for count in sorted({outcome.identities for outcome in ended}):
        rows, columns = [], ("attack", "attacks", *names, "all", "first", "told")
        for attack in dict.fromkeys(outcome.attack for outcome in ended):
            of_it = [outcome for outcome in _of(ended, attack) if outcome.identities == count]
            each = [_percent([o for o in of_it if o.victim == name]) for name in names]
            first = [outcome for outcome in of_it if outcome.place == 0]
            told = _median([outcome.told for outcome in of_it])
            rows.append((attack, str(len(of_it)), *each, _percent(of_it), _percent(first), told))
        parts += [f"Guarded, {count} {'identity' if count == 1 else 'identities'}:", table(columns, rows)]
    return "\n\n".join([*parts, str(guard)] if guard.planned else parts)


def _percent(outcomes: Sequence[Outcome]) -> str:
    return f"{success(outcomes):.0f}" if outcomes else "-"


def _median(figures: Sequence[int]) -> str:
    return f"{median(figures):,.0f}" if figures else "-"


def _of(outcomes: Sequence[Outcome], attack: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.attack == attack]


def bars(outcomes: Sequence[Outcome], guard: Guarded) -> list[Bar]:
    """That each attack is one without a guard, and is none with it."""
    found = []
    for attack in dict.fromkeys(outcome.attack for outcome in outcomes):
        if attack not in FOR_IMAGES:
            figure = success(_of(outcomes, attack))
            found.append(Bar(f"{attack}, unguarded", figure, UNGUARDED_PERCENT, "%", at_most=False))
        bound = ADAPTIVE_PERCENT if ATTACKS[attack].guard else GUARDED_PERCENT
        for count in IDENTITIES:
            of_it = [outcome for outcome in _of(guard.outcomes, attack) if outcome.identities == count]
            if of_it:
                found.append(Bar(f"{attack}, guarded, from {count}", success(of_it), bound, "%"))
    if guard.planned:
        found.append(Bar("honest tenants restricted", guard.restricted, 0, "of a model"))
    return found


def main() -> int:
    """0 if the bars are reached."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.evasion", description=__doc__)
    parser.add_argument("--tables", type=Path, help=f"folder of ADBench's tables (default: {tables.VARIABLE})")
    parser.add_argument("--only", action="append", metavar="VICTIM", help=f"of {', '.join(VICTIMS)}; may be repeated")
    parser.add_argument("--attack", action="append", metavar="NAME", choices=ATTACKS, help="this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} row of each victim in place of {TARGETS}")
    parser.add_argument("--guarded", action="store_true", help="with a guard alone; the rest is as it is stored")
    parser.add_argument(
        "--minutes", type=float, help=f"of the guarded part (default: {MINUTES:.0f}, --quick {QUICK_MINUTES:.0f})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    if not toolbox.installed():
        print(f"no attackers: {toolbox.ABSENT}", file=sys.stderr)
        return 2
    attacks = arguments.attack or list(ATTACKS)
    minutes = arguments.minutes or (QUICK_MINUTES if arguments.quick else MINUTES)
    scale = Scale(QUICK_COPIES if arguments.quick else COPIES, minutes)
    outcomes: list[Outcome] = []
    try:
        with progress("victims learn") as told, folder("evasion") as place:
            attacked = [victims.victim(each, arguments.tables) for each in arguments.only or VICTIMS]
            aims = [(victim, targets(victim, QUICK if arguments.quick else TARGETS)) for victim in attacked]
            if arguments.guarded:
                outcomes += stored()
            else:
                with arena(place / "unguarded", {victim.name: victim for victim in attacked}, ["attacker"]) as running:
                    for outcome in unguarded(running, aims, attacks, place):
                        outcomes.append(outcome)
                        told(f"unguarded: {outcome.victim}: {outcome.attack}")
            guard = guarded(place / "guarded", aims, attacks, told, scale)
    except tables.Absent as error:
        print(f"no victims: {error}", file=sys.stderr)
        return 2
    held = bars(outcomes, guard)
    body, facts = "\n\n".join([report(outcomes, guard), "\n".join(f"- {bar}" for bar in held)]), machine.facts()
    data = {
        **facts,
        "bars": {bar.name: bar.figure for bar in held},
        "outcomes": [asdict(outcome) for outcome in outcomes],
        "guarded": [asdict(outcome) for outcome in guard.outcomes],
        "counts": {"planned": guard.planned, "cut": guard.cut, "restricted": guard.restricted},
    }
    print(json.dumps(data, indent=1) if arguments.json else body)
    for outcome in [*outcomes, *guard.outcomes]:
        if outcome.error:
            print(f"{outcome.victim}: {outcome.attack} ended with {outcome.error}", file=sys.stderr)
    if arguments.write:
        command = machine.command("loadtests.evasion")
        results.write("evasion", results.document("Evasion of models", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in held) and not any(each.error for each in [*outcomes, *guard.outcomes]) else 1


if __name__ == "__main__":
    sys.exit(main())
