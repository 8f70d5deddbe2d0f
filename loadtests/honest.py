"""`python -m loadtests.honest`: how many honest tenants are restricted, of a thousand, in ten million requests."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from loadtests.detection import tables, victims
from loadtests.detection.arena import arena, folder
from loadtests.detection.crowd import REPLACED, Crowd, Plan, Stream, Tally
from loadtests.detection.suspects import STEPS, Suspect, Watcher
from loadtests.detection.tenants import KINDS, kind_of
from loadtests.detection.victims import Victim
from loadtests.detection.warming import warm
from loadtests.evasion import DETECTION, VICTIMS
from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table

TENANTS, REQUESTS = 1_000, 10_000
QUICK_REQUESTS = 300
MOST_RESTRICTED = 1
WAIT_SECONDS = 5.0
STEPS_TAKEN = "modelward_detection_steps_total"

METHOD = f"""\
{TENANTS:,} honest tenants of five kinds, each with an API key and one of six models, send rows in runs of 50, as fast
as `modelward serve` answers with `detection: {{mode: act}}`. iid: any rows. Clustered: 80 % from one of eight clusters
that hold 2 % of all rows. Bursty: 30 to 400 rows of one of 64 clusters, then another. Repeating: 60, and one in ten is
new. Drifting: the mean moves by the distance of a row to its nearest other one, from the first request to the last.
Three rows of ten are real, the others are mixed of real ones. Before, the guard has seen rows of each model until all
its signals count. Restricted: at the step `round` or beyond in the operators' list, which is looked at once a second.
Rows replaced: single rows that got the fallback."""


@dataclass(frozen=True)
class Kind:
    """What became of tenants of one kind. evidence: the most of any, nats by signal."""

    kind: str
    tenants: int
    requests: int
    tagged: int
    restricted: int
    replaced: int
    refused: int
    evidence: Mapping[str, float]


def measure(
    place: Path,
    models: Sequence[Victim],
    tenants: int,
    requests: int,
    told: Callable[[str], None],
    *,
    rows: int | None = None,
) -> tuple[list[Kind], float]:
    """By kind, and how many steps up the server has counted from `round` on. requests: of each tenant."""
    names = [f"tenant-{i}" for i in range(tenants)]
    served = {victim.name: victim for victim in models}
    # of one model the tenants that are so many apart: all kinds come to all models
    shares = {victim.name: names[i :: len(models)] for i, victim in enumerate(models)}
    with arena(place, served, names, DETECTION) as running:
        streams = [
            Stream(model, victim.table, [running.keys[name] for name in shares[model]], seed)
            for seed, (model, victim) in enumerate(served.items())
        ]
        warm(running.server, streams, told, rows)
        with (
            Watcher(running.admin) as watcher,
            Crowd(Plan(running.server.grpc, streams, requests=requests), place) as crowd,
        ):
            while crowd.running:
                told(f"{crowd.tally.done:,} of {tenants * requests:,} requests are answered")
                crowd.wait(WAIT_SECONDS)
        steps = sum(running.server.counted(STEPS_TAKEN, f'step="{step}"') for step in STEPS[2:])
    return [_kind(kind, shares, crowd.tally, watcher.suspects, requests) for kind in KINDS], steps


def _kind(
    kind: str,
    shares: Mapping[str, Sequence[str]],
    tally: Tally,
    suspects: Mapping[tuple[str, str], Suspect],
    requests: int,
) -> Kind:
    of_it = {(name, model): i for model, names in shares.items() for i, name in enumerate(names) if kind_of(i) == kind}
    found = [suspect for key, suspect in suspects.items() if key in of_it]
    outcomes: Counter[str] = Counter()
    for (_, model), i in of_it.items():
        outcomes.update(tally.tenants.get(model, {}).get(str(i), {}))
    evidence: dict[str, float] = {}
    for suspect in found:
        for signal, nats in suspect.evidence.items():
            evidence[signal] = max(evidence.get(signal, 0.0), nats)
    return Kind(
        kind,
        tenants=len(of_it),
        requests=len(of_it) * requests,
        tagged=len(found),
        restricted=sum(suspect.restricted for suspect in found),
        replaced=outcomes[REPLACED],
        refused=outcomes.total() - outcomes[REPLACED],
        evidence=evidence,
    )


def report(kinds: Sequence[Kind]) -> str:
    columns = ("kind", "tenants", "requests", "tagged", "restricted", "rows replaced", "refused", "most evidence")
    rows = [
        (
            each.kind, f"{each.tenants:,}", f"{each.requests:,}", str(each.tagged), str(each.restricted),
            f"{each.replaced:,}", f"{each.refused:,}",
            ", ".join(f"{signal} {nats:.1f}" for signal, nats in sorted(each.evidence.items()) if nats >= 0.05) or "-",
        )
        for each in kinds
    ]  # fmt: skip
    return table(columns, rows)


def main() -> int:
    """0 if no more are restricted than the bar allows."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.honest", description=__doc__)
    parser.add_argument("--tables", type=Path, help=f"folder of ADBench's tables (default: {tables.VARIABLE})")
    parser.add_argument("--only", action="append", metavar="VICTIM", help=f"of {', '.join(VICTIMS)}; may be repeated")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_REQUESTS} requests of each tenant, not {REQUESTS:,}"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    requests = QUICK_REQUESTS if arguments.quick else REQUESTS
    try:
        with Console(stderr=True).status("models learn") as status, folder("honest") as place:
            models = [victims.victim(each, arguments.tables) for each in arguments.only or VICTIMS]
            kinds, steps = measure(place, models, TENANTS, requests, status.update)
    except tables.Absent as error:
        print(f"no models: {error}", file=sys.stderr)
        return 2
    restricted = sum(kind.restricted for kind in kinds)
    held = [Bar("honest tenants restricted", restricted, MOST_RESTRICTED, f"of {TENANTS:,}")]
    counted = f"Steps from `round` on that the server counted: {steps:.0f}."
    body, facts = "\n\n".join([report(kinds), counted, "\n".join(f"- {bar}" for bar in held)]), machine.facts()
    data = {**facts, "bars": {bar.name: bar.figure for bar in held}, "kinds": [asdict(kind) for kind in kinds]}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.honest")
        results.write("honest", results.document("Honest tenants", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in held) else 1


if __name__ == "__main__":
    sys.exit(main())
