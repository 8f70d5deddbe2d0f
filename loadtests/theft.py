"""`python -m loadtests.theft`: how well a copy agrees with the model that it was stolen from, by query budget."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from loadtests.detection import oracle, tables, victims
from loadtests.detection.arena import Arena, arena, folder
from loadtests.detection.crowd import Crowd, Plan, Stream
from loadtests.detection.oracle import FALLBACK, REFUSED, ROUNDED, TOP_CLASS, Answer, Wire
from loadtests.detection.suspects import Watcher
from loadtests.detection.tables import Floats
from loadtests.detection.thieves import OFF_DISTRIBUTION, THIEVES, Loot
from loadtests.detection.victims import Victim
from loadtests.detection.warming import warm
from loadtests.tools import machine, results
from loadtests.tools.progress import progress
from loadtests.tools.results import Bar, table

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

PER_SECOND = 20.0  # of a thief, where a guard reads the clock
TENANTS = 200  # of each model, each with a request a second
DAY_BUDGET = 1_000  # distinct rows that a thief may have answered in a day
DETECTION: Mapping[str, Any] = {"mode": "act", "identities": {"thief-*": {"budget": DAY_BUDGET}}}
OFF_ROWS, JBDA_ROWS = 100, 1_000
# of rows beyond the budget, answers that tell less are counted as less, and the estimate has an error of 15 %
NATURAL_ROWS = 3 * DAY_BUDGET

METHOD = f"""\
Half of each table trains the victim, a quarter is the thief's, a quarter is left to judge by. `modelward serve` runs
the victims as ONNX models; thieves ask over gRPC with an API key of their own. The stolen copy is a forest (extra
trees of scikit-learn) that is trained on the answers to the first 100, 300 ... queries. Agreement: share of 1,500
rows that neither has seen to which it gives the victim's label. Majority: agreement of a copy that always gives the
commonest label. A thief that has no more rows of its own keeps the copy that it has: `asked` tells how many it asked
for.

Guarded: `detection: {{mode: act}}` with a budget of {DAY_BUDGET:,} rows a day for thieves. Each thief has a model of
its own to steal. It asks {PER_SECOND:.0f} times a second, while {TENANTS} honest tenants ask once a second each.
Before, the guard has seen rows of theirs until all its signals count. Tagged, rounded, fallback, blocked: the query
at which it began."""


@dataclass(frozen=True)
class Haul:
    """What a thief came away with. agreement: by budget. first: the query that was the first to get less than exact
    scores, by what it got; "tag": of the first look at which its identity was tagged."""

    victim: str
    thief: str
    guarded: bool
    asked: int
    answered: int
    majority: float
    agreement: dict[int, float]
    first: dict[str, int] = field(default_factory=dict)

    @property
    def stopped(self) -> int:
        """The query from which on it got nothing of the model's; one more than it asked where it always did."""
        never = self.asked + 1
        return min(self.first.get(REFUSED, never), self.first.get(FALLBACK, never))


def steal(victim: Victim, thief: str, other: tables.Table, wire: Wire, budget: int) -> tuple[Floats, list[Answer]]:
    """Rows in the order in which they were asked, and the answers, until its identity is refused."""
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
            if not wire.identities_left:
                break
            asked = queries.send(np.array([_told(answer) for answer in got]))
    except StopIteration:
        pass
    last = next((i for i, answer in enumerate(answers, 1) if answer.how == REFUSED), len(answers))
    return np.concatenate(rows)[:last], answers[:last]


def _told(answer: Answer) -> int:
    """Its label; a fallback says that it is one, and tells nothing of the model."""
    return -1 if answer.scores is None or answer.how == FALLBACK else int(answer.scores.argmax())


def judge(
    victim: Victim,
    thief: str,
    rows: Floats,
    answers: Sequence[Answer],
    budgets: Sequence[int],
    *,
    guarded: bool = False,
    tagged: int = 0,
) -> Haul:
    """Trains a copy for each budget."""
    test = victim.table.pool[:TEST_ROWS]
    truth = victim.labels(test)
    majority = float(np.bincount(truth).max() / len(truth))
    told = np.array([_told(answer) >= 0 for answer in answers])
    agreement: dict[int, float] = {}
    for budget in budgets:
        kept = np.flatnonzero(told[:budget]).tolist()
        agreement[budget] = majority
        if len(kept) >= FEWEST_ANSWERS:
            scores = np.array([answers[i].scores for i in kept])
            copy = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0).fit(rows[kept], scores)
            agreement[budget] = float((copy.predict(test).argmax(axis=1) == truth).mean())
    hows = [answer.how for answer in answers]
    first = {how: hows.index(how) + 1 for how in (ROUNDED, TOP_CLASS, FALLBACK, REFUSED) if how in hows}
    if tagged:
        first["tag"] = tagged
    return Haul(victim.name, thief, guarded, len(answers), int(told.sum()), majority, agreement, first)


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


@dataclass(frozen=True)
class Robbery:
    """One thief at a model of its own."""

    victim: Victim
    thief: str

    @property
    def model(self) -> str:
        return f"{self.victim.name}-{self.thief.replace(' ', '-')}"

    @property
    def identity(self) -> str:
        return f"thief-{self.model}"


def guarded(
    place: Path,
    stolen: Sequence[Victim],
    budgets: Sequence[int],
    folder: Path | None,
    told: Callable[[str], None],
    *,
    rows: int | None = None,
) -> tuple[list[Haul], int]:
    """Hauls, and how many honest tenants were restricted. place: for the server's files. told: gets what happens."""
    robberies = [Robbery(victim, thief) for victim in stolen for thief in THIEVES]
    models = {robbery.model: robbery.victim for robbery in robberies}
    tenants = [f"tenant-{i}" for i in range(TENANTS)]
    wires: dict[tuple[str, str], Wire] = {}

    def rob(running: Arena, robbery: Robbery) -> tuple[Robbery, Floats, list[Answer]]:
        other = tables.load(OTHER[robbery.victim.table.name], folder)
        with oracle.channel(running.server.grpc) as channel:
            identities = running.identities([robbery.identity])
            wire = Wire(channel, robbery.model, robbery.victim, identities, per_second=PER_SECOND)
            wires[robbery.identity, robbery.model] = wire
            return robbery, *steal(robbery.victim, robbery.thief, other, wire, budgets[-1])

    def sent(identity: str, model: str) -> int:
        wire = wires.get((identity, model))
        return wire.sent if wire is not None else 0

    found = []
    with arena(place, models, [*tenants, *(robbery.identity for robbery in robberies)], DETECTION) as running:
        keys = [running.keys[tenant] for tenant in tenants]
        streams = [Stream(model, victim.table, keys, seed) for seed, (model, victim) in enumerate(models.items())]
        warm(running.server, streams, told, rows)
        with (
            Watcher(running.admin, sent) as watcher,
            Crowd(Plan(running.server.grpc, streams, per_second=1.0), place),
            ThreadPoolExecutor(len(robberies)) as threads,
        ):
            for done in as_completed([threads.submit(rob, running, robbery) for robbery in robberies]):
                found.append(done.result())
                told(f"{found[-1][0].model} is through")
    hauls = []
    for robbery, asked, answers in found:
        told(f"{robbery.model} is judged")
        suspect = watcher.suspects.get((robbery.identity, robbery.model))
        tagged = suspect.seen["tag"] if suspect is not None else 0
        hauls.append(judge(robbery.victim, robbery.thief, asked, answers, budgets, guarded=True, tagged=tagged))
    order = [robbery.model for robbery in robberies]
    hauls.sort(key=lambda haul: order.index(f"{haul.victim}-{haul.thief.replace(' ', '-')}"))
    restricted = {key for key, suspect in watcher.suspects.items() if key[0] in set(tenants) and suspect.restricted}
    return hauls, len(restricted)


def stored(budgets: Sequence[int]) -> list[Haul]:
    """The unguarded ones of the last result that is written."""
    found = []
    for each in json.loads((results.FOLDER / "theft.json").read_text())["hauls"]:
        agreement = {int(budget): figure for budget, figure in each["agreement"].items() if int(budget) in budgets}
        haul = Haul(**{"guarded": False, **each, "agreement": agreement})
        found += [haul] if not haul.guarded else []
    return found


def report(hauls: Sequence[Haul], budgets: Sequence[int]) -> str:
    """Two tables for each victim: agreement, and how far thieves got."""
    parts = []
    columns = ("thief", "asked", *(f"{budget:,}" for budget in budgets))
    for name in dict.fromkeys(haul.victim for haul in hauls):
        for guard in (False, True):
            of_it = [haul for haul in hauls if haul.victim == name and haul.guarded == guard]
            if not of_it:
                continue
            rows: list[tuple[str, ...]] = []
            for haul in of_it:
                agreement = [f"{haul.agreement[budget]:.3f}" for budget in budgets]
                steps = [f"{haul.first[step]:,}" if step in haul.first else "-" for step in SHOWN] if guard else []
                rows.append((haul.thief, f"{haul.asked:,}", *agreement, *steps))
            title = f"{name}, majority {of_it[0].majority:.3f}, {'guarded' if guard else 'unguarded'}:"
            parts.append(f"{title}\n\n{table((*columns, *(SHOWN.values() if guard else ())), rows)}")
    return "\n\n".join(parts)


SHOWN = {"tag": "tagged", ROUNDED: "rounded", TOP_CLASS: "top class", FALLBACK: "fallback", REFUSED: "blocked"}


def bars(hauls: Sequence[Haul], restricted: int) -> list[Bar]:
    """Of the guarded ones: the worst of each kind."""

    def worst(thieves: Sequence[str], figure: Callable[[Haul], float]) -> float:
        return max((figure(haul) for haul in hauls if haul.guarded and haul.thief in thieves), default=0.0)

    natural = [thief for thief in THIEVES if thief not in OFF_DISTRIBUTION and thief != "JbDA"]
    return [
        Bar(
            "off the distribution: stopped after", worst(list(OFF_DISTRIBUTION), lambda h: h.stopped), OFF_ROWS, "rows"
        ),
        Bar("JbDA: stopped after", worst(["JbDA"], lambda h: h.stopped), JBDA_ROWS, "rows"),
        Bar("natural rows: answered", worst(natural, lambda h: h.answered), NATURAL_ROWS, "rows"),
        Bar("honest tenants restricted", restricted, 0, "of a model"),
    ]


def main() -> int:
    """0 if the bars are reached."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.theft", description=__doc__)
    parser.add_argument("--tables", type=Path, help=f"folder of ADBench's tables (default: {tables.VARIABLE})")
    parser.add_argument("--only", action="append", metavar="VICTIM", help=f"of {', '.join(VICTIMS)}; may be repeated")
    parser.add_argument("--quick", action="store_true", help=f"budgets of {' and '.join(map(str, QUICK))} alone")
    parser.add_argument("--guarded", action="store_true", help="with a guard alone; the rest is as it is stored")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    budgets = QUICK if arguments.quick else BUDGETS
    hauls: list[Haul] = []
    try:
        with progress("victims learn") as told, folder("theft") as place:
            stolen = [victims.victim(name, arguments.tables) for name in arguments.only or VICTIMS]
            if arguments.guarded:
                hauls += stored(budgets)
            else:
                models = {victim.name: victim for victim in stolen}
                with arena(place / "unguarded", models, ["thief"]) as running:
                    for haul in unguarded(running, stolen, budgets, arguments.tables):
                        hauls.append(haul)
                        told(f"unguarded: {haul.victim}: {haul.thief}")
            caught, restricted = guarded(place / "guarded", stolen, budgets, arguments.tables, told)
            hauls += caught
    except tables.Absent as error:
        print(f"no victims: {error}", file=sys.stderr)
        return 2
    held = bars(hauls, restricted)
    body, facts = "\n\n".join([report(hauls, budgets), "\n".join(f"- {bar}" for bar in held)]), machine.facts()
    data = {
        **facts,
        "bars": {bar.name: bar.figure for bar in held},
        "hauls": [asdict(haul) for haul in hauls],
    }
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.theft")
        results.write("theft", results.document("Copies of models", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in held) else 1


if __name__ == "__main__":
    sys.exit(main())
