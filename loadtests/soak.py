"""`python -m loadtests.soak`: millions of requests of every kind, and what they do to the server's resident memory."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loadtests import traffic
from loadtests.race.ours import serve
from loadtests.tools import client, h2load, machine, results
from loadtests.tools.process import free_ports
from loadtests.tools.results import Bar, table

CYCLES = 50  # each sends every kind in its share
SETTLED = CYCLES // 10  # caches, pools and the allocator have seen everything by then
BAR_PERCENT = 5.0
MiB = 2**20

METHOD = f"""\
Resident set of the server while it answers every kind of traffic in turn, {CYCLES} times: h2load for the unary calls, a
gRPC client for streams and for calls that are given up. A gRPC client checks the status of each kind before and after;
the bytes of all answers are counted. Growth is from the end of cycle {SETTLED} to the end."""


@dataclass(frozen=True)
class Checkpoint:
    requests: int
    resident_bytes: int


def soak(
    requests: int, sent: Callable[[str, int], None] = lambda kind, count: None, cycles: int = CYCLES
) -> list[Checkpoint]:
    """Starts a server, sends about `requests` and returns the resident set after every cycle."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelward-soak-")))
        port = free_ports(1)[0]
        process = stack.enter_context(serve(folder / "config.yaml", traffic.configuration(folder), port))
        kinds = traffic.kinds()
        # this uses up the limit that a later kind must be refused by
        limited = next(kind for kind in kinds if kind.status == "RESOURCE_EXHAUSTED")
        client.wait_until_answered(port, limited.message, process)
        channel = stack.enter_context(client.channel(port))
        sizes = [traffic.check(channel, kind) for kind in kinds]
        checkpoints, total = [], 0
        for _ in range(cycles):
            for kind, size in zip(kinds, sizes, strict=True):
                count = _count(requests / cycles, kind.share)
                traffic.send(port, kind, count, size)
                sent(kind.name, count)
                total += count
            for talk in traffic.TALKS:
                count = _count(requests / cycles, talk.share)
                talk.send(channel, count)
                sent(talk.name, count)
                total += count
            process.check()
            checkpoints.append(Checkpoint(total, process.resident_bytes()))
        for kind in kinds:
            traffic.check(channel, kind)
        return checkpoints


def _count(requests: float, share: float) -> int:
    return max(1, round(requests * share))


def growth_percent(checkpoints: list[Checkpoint]) -> float:
    settled = checkpoints[SETTLED - 1].resident_bytes
    return 100 * (checkpoints[-1].resident_bytes - settled) / settled


def main() -> int:
    """0 if the resident set has grown by no more than the bar."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=5_000_000)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace loadtests/results/soak.md and soak.json")
    arguments = parser.parse_args()
    if not h2load.installed():
        print(f"no soak: {h2load.ABSENT}", file=sys.stderr)
        return 2
    columns = (TextColumn("{task.description:22}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=arguments.requests)

        def sent(kind: str, count: int) -> None:
            progress.update(task, description=kind, advance=count)

        checkpoints = soak(arguments.requests, sent)
    bar = Bar(f"growth over {checkpoints[-1].requests:,} requests", growth_percent(checkpoints), BAR_PERCENT, "%")
    rows = [(f"{c.requests:,}", f"{c.resident_bytes / MiB:.1f}") for c in checkpoints[SETTLED - 1 :: SETTLED]]
    shares = [(k.name, k.status, f"{k.share:.1%}") for k in traffic.kinds()]
    shares += [(t.name, "", f"{t.share:.1%}") for t in traffic.TALKS]
    sizes, mix = table(("requests", "resident MiB"), rows), table(("kind", "ends with", "share"), shares)
    body = "\n\n".join([sizes, str(bar), mix])
    facts = machine.facts()
    points = [asdict(c) for c in checkpoints]
    data = {**facts, "checkpoints": points, "growth_percent": bar.figure, "reached": bar.reached}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.soak")
        results.write("soak", results.document("Memory over millions of requests", METHOD, facts, command, body), data)
    return 0 if bar.reached else 1


if __name__ == "__main__":
    sys.exit(main())
