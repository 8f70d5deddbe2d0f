"""`python -m loadtests.theft`: how well a copy agrees with the model that it was stolen from, by query budget."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from sklearn.ensemble import ExtraTreesRegressor

from loadtests.detection import oracle, tables, victims
from loadtests.detection.arena import Arena, arena
from loadtests.detection.oracle import FALLBACK, Answer, Wire
from loadtests.detection.tables import Floats
from loadtests.detection.thieves import THIEVES, Loot
from loadtests.detection.victims import Victim
from loadtests.tools import machine, results
from loadtests.tools.results import table

VICTIMS = ("magic-mlp", "cardio-forest", "annthyroid-mlp", "pageblocks-forest", "spambase-logistic", "digits-mlp")
# Knockoff's rows are another table's
OTHER = {
    "magic": "cardio", "cardio": "pageblocks", "annthyroid": "magic", "pageblocks": "annthyroid",
    "spambase": "digits", "digits": "breast-cancer", "breast-cancer": "digits",
}  # fmt: skip
BUDGETS = (100, 300, 1_000, 3_000, 10_000)
QUICK = (100, 300)
TEST_ROWS = 1_500
TREES = 40
FEWEST_ANSWERS = 5

METHOD = """\
Half of each table trains the victim, a quarter is the thief's, a quarter is left to judge by. `modelward serve` runs
the victims as ONNX models; thieves ask over gRPC with an API key of their own. The stolen copy is a forest (extra trees
of scikit-learn) that is trained on the answers to the first 100, 300 ... queries. Agreement: share of 1,500 rows that
neither has seen to which it gives the victim's label. Majority: agreement of a copy that always gives the commonest
label. A thief that has no more rows of its own keeps the copy that it has: `asked` tells how many it asked for."""


@dataclass(frozen=True)
class Haul:
    """What a thief came away with. agreement: by budget."""

    victim: str
    thief: str
    asked: int
    answered: int
    majority: float
    agreement: dict[int, float]


def steal(victim: Victim, thief: str, other: tables.Table, wire: Wire, budget: int) -> tuple[Floats, list[Answer]]:
    """Rows in the order in which they were asked, and the answers."""
    seed = np.random.default_rng(sorted(THIEVES).index(thief))
    queries = THIEVES[thief](Loot(victim.table, other, victim.classes, budget, seed))
    rows: list[Floats] = []
    answers: list[Answer] = []
    try:
        asked = next(queries)
        while True:
            got = wire.ask(asked)
            rows.append(asked)
            answers += got
            asked = queries.send(np.array([_told(answer) for answer in got]))
    except StopIteration:
        return np.concatenate(rows), answers


def _told(answer: Answer) -> int:
    """Its label; a fallback says that it is one, and tells nothing of the model."""
    return -1 if answer.scores is None or answer.how == FALLBACK else int(answer.scores.argmax())


def judge(victim: Victim, thief: str, rows: Floats, answers: Sequence[Answer], budgets: Sequence[int]) -> Haul:
    """Trains a copy for each budget."""
    test = victim.table.pool[:TEST_ROWS]
    truth = victim.labels(test)
    majority = float(np.bincount(truth).max() / len(truth))
    told = np.array([_told(answer) >= 0 for answer in answers])
    agreement = {}
    for budget in budgets:
        kept = np.flatnonzero(told[:budget]).tolist()
        agreement[budget] = majority
        if len(kept) >= FEWEST_ANSWERS:
            scores = np.array([answers[i].scores for i in kept])
            copy = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0).fit(rows[kept], scores)
            agreement[budget] = float((copy.predict(test).argmax(axis=1) == truth).mean())
    return Haul(victim.name, thief, len(answers), int(told.sum()), majority, agreement)


def unguarded(
    running: Arena, stolen: Sequence[Victim], budgets: Sequence[int], folder: Path | None = None
) -> Iterator[Haul]:
    """folder: of the tables."""
    with oracle.channel(running.server.grpc) as channel:
        for victim in stolen:
            other = tables.load(OTHER[victim.table.name], folder)
            for thief in THIEVES:
                wire = Wire(channel, victim.name, victim, running.identities(["thief"]))
                yield judge(victim, thief, *steal(victim, thief, other, wire, budgets[-1]), budgets)


def report(hauls: Sequence[Haul], budgets: Sequence[int]) -> str:
    """A table for each victim."""
    parts = []
    for name in dict.fromkeys(haul.victim for haul in hauls):
        of_it = [haul for haul in hauls if haul.victim == name]
        rows = [
            (haul.thief, f"{haul.asked:,}", *(f"{haul.agreement[budget]:.3f}" for budget in budgets)) for haul in of_it
        ]
        columns = ("thief", "asked", *(f"{budget:,}" for budget in budgets))
        parts.append(f"{name}, majority {of_it[0].majority:.3f}:\n\n{table(columns, rows)}")
    return "\n\n".join(parts)


def main() -> int:
    """0 once every thief has had its turn."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.theft", description=__doc__)
    parser.add_argument("--tables", type=Path, help=f"folder of ADBench's tables (default: {tables.VARIABLE})")
    parser.add_argument("--only", action="append", metavar="VICTIM", help=f"of {', '.join(VICTIMS)}; may be repeated")
    parser.add_argument("--quick", action="store_true", help=f"budgets of {' and '.join(map(str, QUICK))} alone")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    budgets = QUICK if arguments.quick else BUDGETS
    hauls: list[Haul] = []
    try:
        with Console(stderr=True).status("victims learn") as status, tempfile.TemporaryDirectory() as folder:
            stolen = [victims.victim(name, arguments.tables) for name in arguments.only or VICTIMS]
            with arena(Path(folder), {victim.name: victim for victim in stolen}, ["thief"]) as running:
                for haul in unguarded(running, stolen, budgets, arguments.tables):
                    hauls.append(haul)
                    status.update(f"{haul.victim}: {haul.thief}")
    except tables.Absent as error:
        print(f"no victims: {error}", file=sys.stderr)
        return 2
    body, facts = report(hauls, budgets), machine.facts()
    data = {**facts, "hauls": [asdict(haul) for haul in hauls]}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.theft")
        results.write("theft", results.document("Copies of models", METHOD, facts, command, body), data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
