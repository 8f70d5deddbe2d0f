"""`python -m loadtests.stages`: what each stage of a request costs, against its budget.

The figures are those of tests/bench (compiled loops, medians of rounds); here they stand beside the budgets.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass

from loadtests.tools import machine, results
from loadtests.tools.results import table
from tests.bench import bench_compare, bench_kernels, bench_oip, bench_score

# Histograms that each request records into: queue, score, whole. The rooms are sampled; counters are plain additions.
RECORDS_PER_REQUEST = 3
# What a stage of the hot path may cost, in ns, by the beginning of the benchmark's name.
BUDGETS = {
    "scan, 156 bytes, raw": 150.0,
    "limit: admit, four levels, 4096": 80.0,
    "score: 30 features": 1000.0,
    "deadline: add + cancel": 30.0,
    "metrics:": 50.0,
    "compare, 16 scores": 1000.0,
}
METHOD = """\
One operation of each stage in a compiled loop, in one thread with warm caches: medians of rounds after a warm-up."""


@dataclass(frozen=True)
class Stage:
    """ns: of one operation. budget: None where the figure is only for information."""

    name: str
    ns: float
    budget: float | None

    @property
    def verdict(self) -> str:
        if self.budget is None:
            return ""
        return "within" if self.ns <= self.budget else "over"


def measure() -> list[Stage]:
    """Every stage, those with a budget first. Raises LookupError where a budget's benchmark is gone."""
    figures = {**bench_oip.measure(), **bench_kernels.measure(), **bench_score.measure(), **bench_compare.measure()}
    figures[f"metrics: {RECORDS_PER_REQUEST} histogram records"] = RECORDS_PER_REQUEST * figures["histogram: record"]
    return judge(figures)


def judge(figures: dict[str, float]) -> list[Stage]:
    budget_of: dict[str, float] = {}
    for beginning, budget in BUDGETS.items():
        names = [name for name in figures if name.startswith(beginning)]
        if len(names) != 1:
            raise LookupError(f"no single benchmark is named {beginning!r}...: {sorted(figures)}")
        budget_of[names[0]] = budget
    rest = [name for name in figures if name not in budget_of]
    return [Stage(name, figures[name], budget_of.get(name)) for name in [*budget_of, *rest]]


def text(stages: list[Stage]) -> str:
    return table(
        ("stage", "ns", "budget", ""),
        [(s.name, f"{s.ns:.1f}", "" if s.budget is None else f"{s.budget:.0f}", s.verdict) for s in stages],
    )


def write(stages: list[Stage]) -> None:
    """Replaces loadtests/results/stages.md and stages.json."""
    facts = machine.facts()
    document = results.document(
        "Nanoseconds per stage", METHOD, facts, "python -m loadtests.stages --write", text(stages)
    )
    results.write("stages", document, {**facts, "stages": data(stages)})


def data(stages: list[Stage]) -> list[dict[str, object]]:
    return [{"stage": s.name, "ns": round(s.ns, 1), "budget_ns": s.budget, "verdict": s.verdict} for s in stages]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.stages", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace loadtests/results/stages.md and stages.json")
    arguments = parser.parse_args()
    stages = measure()
    if arguments.json:
        print(json.dumps({**machine.facts(), "stages": data(stages)}, indent=1))
    else:
        print(f"{machine.cpu()}\n\n{text(stages)}")
    if arguments.write:
        write(stages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
