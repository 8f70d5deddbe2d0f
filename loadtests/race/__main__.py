"""`python -m loadtests.race`: CPU per request of Modelward and of other servers with the same model."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtests.race import against, report, rounds, triton
from loadtests.race.contestant import Absent
from loadtests.race.grpc_aio import GRPC_AIO
from loadtests.race.ours import BARE, EVERYTHING, OURS, REFUSING, SAMPLING, WATCHED
from loadtests.race.spike import SPIKE
from loadtests.race.triton import TRITON
from loadtests.tools import h2load, machine, results
from loadtests.tools.h2load import Shape

CONTESTANTS = (OURS, EVERYTHING, WATCHED, SAMPLING, BARE, REFUSING, SPIKE, TRITON, GRPC_AIO)
ONE_STREAM_SHARE = 0.1  # of the requests, where each waits for the one before
TITLE = "CPU per request, against other servers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(c.name for c in CONTESTANTS[1:])
    parser.add_argument("--rounds", type=int, default=7, help="after a warm-up round (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=50_000, help="per round at 8x16 (default: %(default)s)")
    parser.add_argument(
        "--shape", type=Shape.parse, action="append", metavar="CxS", help="connections x streams (8x16 and 1x1)"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help=f"beside {OURS.name}: {names}")
    parser.add_argument("--with-triton", action="store_true", help="install Triton into .cache/triton first (270 MB)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    kept = parser.add_mutually_exclusive_group()  # results are of this tree
    kept.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    kept.add_argument("--against", type=Path, metavar="TREE", help=against.HELP)


def race(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Runs the race and prints it; its data, or None where h2load is not installed."""
    if not h2load.installed():
        print(f"no race: {h2load.ABSENT}", file=sys.stderr)
        return None
    if arguments.with_triton:
        try:
            triton.install()
        except Absent as reason:
            print(f"Triton: {reason}", file=sys.stderr)
    shapes = arguments.shape or [report.BUSY, report.ALONE]
    requests = {s: round(arguments.requests * (ONE_STREAM_SHARE if s == report.ALONE else 1.0)) for s in shapes}
    chosen = [c for c in CONTESTANTS if c is OURS or not arguments.only or c.name in arguments.only]
    chosen += against.embedded(arguments.against) if arguments.against else []
    with Console(stderr=True).status("starting servers") as status, rounds.lined_up(chosen) as lanes:
        rounds.run(lanes, requests, arguments.rounds, status.update)
    facts, bars = machine.facts(), report.bars(lanes)
    tables = report.tables(lanes, shapes)
    data = {
        **facts,
        "rounds": arguments.rounds,
        "requests": {str(shape): count for shape, count in requests.items()},
        "results": {str(shape): report.rows(lanes, shape) for shape in shapes},
        "bars": [{**asdict(bar), "reached": bar.reached} for bar in bars],
    }
    if not arguments.json:
        print(
            "\n".join([facts["machine"], facts["versions"], "", tables, "", *map(str, bars), against.compared(lanes)])
        )
    if arguments.write:
        rounds_run = f"{arguments.rounds} rounds of {arguments.requests:,} requests at most"
        body = "\n".join([tables, "", "Promises:", "", *(f"- {bar}" for bar in bars)])
        command = machine.command("loadtests.race")
        text = results.document(TITLE, report.METHOD, {**facts, "rounds": rounds_run}, command, body)
        results.write("race", text, data)
    return data


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.race", description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    data = race(arguments)
    if data is None:
        return 2
    if arguments.json:
        print(json.dumps(data, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
