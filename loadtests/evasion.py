"""`python -m loadtests.evasion`: how often attackers find a row near theirs that the model mistakes, and how soon."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from rich.console import Console

from loadtests.detection import attackers, tables, toolbox, victims
from loadtests.detection.arena import Arena, arena
from loadtests.detection.attackers import ATTACKS, Outcome, Plan, Trial
from loadtests.detection.targets import BUDGET, targets
from loadtests.detection.victims import Victim
from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table

VICTIMS = ("magic-mlp", "cardio-mlp", "annthyroid-mlp", "pageblocks-mlp", "spambase-logistic", "digits-mlp")
TARGETS, QUICK = 8, 2
UNGUARDED_PERCENT = 90.0
FOR_IMAGES = ("Square (ART)", "ZOO (ART)")

METHOD = f"""\
Victims are classifiers that `modelward serve` runs as ONNX models; attackers ask over gRPC, in a process of their own.
Those marked ART are the adversarial-robustness-toolbox's, which sees a black box; the others are ours. A success is a
row of another label, as answered and in truth, within {BUDGET:,} queries and within a distance: 1.2 times that of the
nearest row that HopSkipJump finds with all its queries and no guard (Euclidean, of standardised features; Square (ART)
goes by the largest difference in any feature). Rows where half the way to the nearest real row of another label is less
than that are no targets. Where there are two labels, three of four targets have the rarer one. After: the median number
of queries of those that succeeded. Square (ART) and ZOO (ART) are made for images, miss some rows of tables with all
their queries, and are in no bar; ours are."""


def unguarded(
    running: Arena, victims: Sequence[Victim], count: int, attacks: Sequence[str], folder: Path
) -> Iterator[Outcome]:
    """Each attack on `count` rows of each victim, as fast as it is answered."""
    keys = [running.keys["attacker"]]
    lane = [
        Trial(victim.name, victim.name, attack, keys, target, BUDGET, seed=seed)
        for victim in victims
        for seed, target in enumerate(targets(victim, count))
        for attack in attacks
    ]
    plan = Plan(running.server.grpc, {victim.name: victim for victim in victims}, [lane])
    yield from attackers.run(plan, folder)


def success(outcomes: Sequence[Outcome]) -> float:
    """In percent; 0 of none."""
    return 100 * sum(outcome.after is not None for outcome in outcomes) / max(len(outcomes), 1)


def report(outcomes: Sequence[Outcome]) -> str:
    """A row for each attack, a column for each victim."""
    names, rows = list(dict.fromkeys(outcome.victim for outcome in outcomes)), []
    for attack in dict.fromkeys(outcome.attack for outcome in outcomes):
        of_it = _of(outcomes, attack)
        each = [f"{success([o for o in of_it if o.victim == name]):.0f}" for name in names]
        after = [outcome.after for outcome in of_it if outcome.after is not None]
        rows.append((attack, *each, f"{success(of_it):.0f}", f"{median(after):,.0f}" if after else "-"))
    return "Success in percent:\n\n" + table(("attack", *names, "all", "after"), rows)


def _of(outcomes: Sequence[Outcome], attack: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.attack == attack]


def bars(outcomes: Sequence[Outcome]) -> list[Bar]:
    """That each attack is one: what it does without a guard."""
    return [
        Bar(f"{attack}, unguarded", success(_of(outcomes, attack)), UNGUARDED_PERCENT, "%", at_most=False)
        for attack in dict.fromkeys(outcome.attack for outcome in outcomes)
        if attack not in FOR_IMAGES
    ]


def main() -> int:
    """0 if the bars are reached."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.evasion", description=__doc__)
    parser.add_argument("--tables", type=Path, help=f"folder of ADBench's tables (default: {tables.VARIABLE})")
    parser.add_argument("--only", action="append", metavar="VICTIM", help=f"of {', '.join(VICTIMS)}; may be repeated")
    parser.add_argument("--attack", action="append", metavar="NAME", choices=ATTACKS, help="this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rows of each victim in place of {TARGETS}")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    if not toolbox.installed():
        print(f"no attackers: {toolbox.ABSENT}", file=sys.stderr)
        return 2
    outcomes: list[Outcome] = []
    try:
        with Console(stderr=True).status("victims learn") as status, tempfile.TemporaryDirectory() as name:
            attacked = [victims.victim(each, arguments.tables) for each in arguments.only or VICTIMS]
            with arena(Path(name), {victim.name: victim for victim in attacked}, ["attacker"]) as running:
                count = QUICK if arguments.quick else TARGETS
                for outcome in unguarded(running, attacked, count, arguments.attack or list(ATTACKS), Path(name)):
                    outcomes.append(outcome)
                    status.update(f"{outcome.victim}: {outcome.attack}")
    except tables.Absent as error:
        print(f"no victims: {error}", file=sys.stderr)
        return 2
    held = bars(outcomes)
    body, facts = "\n\n".join([report(outcomes), "\n".join(f"- {bar}" for bar in held)]), machine.facts()
    data = {
        **facts,
        "bars": {bar.name: bar.figure for bar in held},
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    print(json.dumps(data, indent=1) if arguments.json else body)
    for outcome in outcomes:
        if outcome.error:
            print(f"{outcome.victim}: {outcome.attack} ended with {outcome.error}", file=sys.stderr)
    if arguments.write:
        command = machine.command("loadtests.evasion")
        results.write("evasion", results.document("Evasion of models", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in held) and not any(outcome.error for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
