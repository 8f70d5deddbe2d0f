"""`python -m loadtests.autoscale`: a fleet under Kubernetes' autoscaler, simulated, with traces of load."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from loadtests.scaling.fleet import READY_SECONDS, TARGET, Run, simulate
from loadtests.scaling.hpa import SYNC_SECONDS
from loadtests.scaling.plot import plot
from loadtests.scaling.pods import LATE_SECONDS, SCRAPE_SECONDS, Kind, kinds
from loadtests.scaling.traces import ATTACK, CROWDING, DIURNAL, DOUBLING, LOAD_TRACES, RAMP, Trace, attacks
from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9)

METHOD = f"""\
A simulation, no measurement. The autoscaler is Kubernetes' published algorithm: every {SYNC_SECONDS} s, tolerance 0.1,
300 s of stabilisation before fewer pods, the policies of the manifests in `deploy`, target {TARGET}. Each pod is
scraped every {SCRAPE_SECONDS} s and tells `modelward_utilization` by the code that servers run. A pod has one worker
and one core. What an answer and a refusal cost are measured figures, of `results/race.json` and `results/hop.json`. The
model server behind a hop is that of the overload: four at a time, 5 ms each. A new pod is ready about
{READY_SECONDS:g} s after it was asked for. Clients spread their requests over all ready pods. A request that would
wait longer than {LATE_SECONDS} s is refused.

The unit of load is what one pod does at the target. Diurnal: from 1 to 8 and back in a day. Ramp: 1 to 10 in ten
minutes, and back. Flash crowd: 2 to 8 in twelve seconds. Attacks: a load of 3, and for half an hour refused work that
takes {ATTACK:.0%} of each pod's loop; in the last one {CROWDING:.0%}, which leaves honest requests too little.
Turns: how often the number of pods went up after it had gone down, or down after up."""


def run(traces: Sequence[Trace], kind: Kind, seed: int) -> list[Run]:
    return [simulate(trace, kind, seed) for trace in traces]


def bars(runs: Sequence[Run]) -> list[Bar]:
    """What has to hold, of one kind of pod."""
    found = []
    for each in runs:
        if each.trace.name.startswith("attack"):
            found.append(Bar(f"{each.kind.name}, {each.trace.name}: changes of replicas", each.changes, 0, ""))
        else:
            found.append(Bar(f"{each.kind.name}, {each.trace.name}: turns", each.turns, 1, ""))
        if each.trace.name in (RAMP.name, DIURNAL.name):
            found.append(Bar(f"{each.kind.name}, {each.trace.name}: refused", each.refused, 0, "requests"))
    return found


def by_target(kind: Kind, seed: int) -> str:
    """Of which target what is refused while load rises."""
    found = []
    for target in TARGETS:
        runs = [simulate(trace, kind, seed, target=target) for trace in (RAMP, DOUBLING)]
        found.append((f"{target:g}", *(f"{100 * each.refused / each.came:.2f}" for each in runs)))
    return table(("target", "refused % on the ramp", "refused % where load doubles in a minute"), found)


def rows(runs: Sequence[Run]) -> list[tuple[object, ...]]:
    return [
        (
            each.trace.name,
            f"{min(each.replicas)}-{max(each.replicas)}",
            each.changes,
            each.turns,
            f"{100 * each.refused / each.came:.2f}",
        )
        for each in runs
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.autoscale", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    parts, judged, told, drawn = [], [], [], ""
    for kind in kinds():
        traces = attacks(kind.refusal)
        runs = run((*LOAD_TRACES, *traces), kind, arguments.seed)
        on_cpu = [simulate(trace, kind, arguments.seed, on_cpu=True) for trace in (*LOAD_TRACES, *traces)]
        columns = ("trace", "pods", "changes", "turns", "refused %")
        parts += [
            f"{kind.name.capitalize()}, {kind.capacity:,.0f} requests a second of one pod at most:",
            "",
        ]
        parts += [table(columns, rows(runs)), "", "The same, scaled by CPU:", "", table(columns, rows(on_cpu)), ""]
        parts += ["By target:", "", by_target(kind, arguments.seed), ""]
        judged += bars(runs)
        told += [each.tell() for each in runs] + [{**each.tell(), "by": "cpu"} for each in on_cpu]
        drawn = drawn or plot(runs, {each.trace.name: each for each in on_cpu})
    body = "\n".join([*parts, *(f"- {bar}" for bar in judged)])
    print(body)
    if arguments.write:
        picture = "![Replicas over time](autoscale.svg)\n\n"
        text = results.document(
            "Autoscaling", METHOD, machine.facts(), machine.command("loadtests.autoscale"), picture + body
        )
        results.write("autoscale", text, {"seed": arguments.seed, "target": TARGET, "runs": told})
        (results.FOLDER / "autoscale.svg").write_text(drawn)
    return 0 if all(bar.reached for bar in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
