"""`python -m loadtests.start`: from exec to READY, with one model and with many, and as a hop.

`python -X importtime` tells where the time of imports goes; this tells what of all that an operator waits for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.hop.upstream import upstream
from loadtests.race.ours import serve
from loadtests.tools import machine, models, results
from loadtests.tools.process import cpu_ns, free_ports
from loadtests.tools.results import Bar, table
from tests.models import repository

RUNS = 9
MANY = 200
ONE_SECONDS, MANY_SECONDS = 0.5, 2.0
POLL_SECONDS = 0.002
LONGEST_SECONDS = 120.0

METHOD = f"""\
Wall time from the start of `modelward serve` to READY on its stdout, the median of the runs: the first worker is ready
then, its models are checked, opened and warmed. CPU is of all processes until then. Nothing is kept between runs but
the files in the page cache; the state folder is empty each time. {MANY} models are small ones, each its own file."""


@dataclass(frozen=True)
class Starts:
    """Seconds of each run, and of CPU."""

    name: str
    seconds: list[float]
    cpu: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def median_cpu(self) -> float:
        return statistics.median(self.cpu)


def measure(name: str, settings: dict[str, Any], runs: int) -> Starts:
    """One run after the other, each with a state folder of its own."""
    seconds, cpu = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="modelward-start-") as folder:
            port = free_ports(1)[0]
            listen = {"grpc": f"127.0.0.1:{port}", "http": "127.0.0.1:0", "admin": "127.0.0.1:0"}
            config = {"listen": listen, "state": str(Path(folder, "state")), **settings}
            began = time.monotonic()
            with serve(Path(folder, "config.yaml"), config, port) as process:
                while "READY" not in process.output():
                    process.check(POLL_SECONDS)
                    if time.monotonic() - began > LONGEST_SECONDS:
                        raise RuntimeError(f"not ready after {LONGEST_SECONDS:.0f} s:\n{process.tail()}")
                seconds.append(time.monotonic() - began)
                cpu.append(cpu_ns(process.pid) / 1e9)
    return Starts(name, seconds, cpu)


def main() -> int:
    """0 if all bars are reached."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace loadtests/results/start.md and start.json")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelward-models-")))
        one = repository(folder / "one", {models.MLP: models.mlp()})
        many = repository(folder / "many", {f"m{i:03}": models.mlp() for i in range(MANY)})
        behind = free_ports(1)[0]
        (folder / "upstream").mkdir()
        stack.enter_context(upstream(folder / "upstream", behind))
        found = [
            measure("one model", {"repository": str(one)}, arguments.runs),
            measure("a hop", {"models": {models.MLP: {"upstreams": [f"127.0.0.1:{behind}"]}}}, arguments.runs),
            measure(f"{MANY} models", {"repository": str(many)}, max(1, arguments.runs // 3)),
        ]
    bars = [
        Bar("one model, start to READY", found[0].median, ONE_SECONDS, "s"),
        Bar(f"{MANY} models, start to READY", found[-1].median, MANY_SECONDS, "s"),
    ]
    rows = [
        (
            each.name,
            len(each.seconds),
            f"{each.median:.2f}",
            f"{max(each.seconds):.2f}",
            f"{statistics.median(each.cpu):.2f}",
        )
        for each in found
    ]
    columns = ("server", "runs", "median, s", "slowest, s", "CPU, s")
    body = "\n".join([table(columns, rows), "", *(f"- {bar}" for bar in bars)])
    data = {"starts": [asdict(each) for each in found]}
    facts = machine.facts()
    print(json.dumps(data) if arguments.json else body)
    if arguments.write:
        text = results.document("Start", METHOD, facts, "python -m loadtests.start", body)
        results.write("start", text, {"facts": facts, **data})
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
