"""`python -m loadtests.hop`: CPU per request of one proxied hop, Modelward with its guards against general proxies."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtests.hop import contestants, proxies, report
from loadtests.hop.upstream import upstream
from loadtests.race import against, rounds
from loadtests.race.contestant import Absent, request
from loadtests.race.report import rows, tables
from loadtests.tools import certificate, client, h2load, machine, results
from loadtests.tools.h2load import Shape
from loadtests.tools.process import free_ports

SPEAKING_TLS = (contestants.modelward, contestants.identities, proxies.haproxy, proxies.nginx, proxies.envoy)
SHAPES = (report.BUSY, report.MANY_CONNECTIONS, report.ALONE)
ONE_STREAM_SHARE = 0.1  # of the requests, where each waits for the one before
TITLE = "One proxied hop: CPU per request, against general proxies"
TLS_TITLE = "One proxied hop, TLS in front: CPU per request, against general proxies"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.hop", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="after a warm-up round (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=50_000, help="per round at 8x16 (default: %(default)s)")
    parser.add_argument(
        "--shape", type=Shape.parse, action="append", metavar="CxS", help="connections x streams (8x16, 64x1 and 1x1)"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help=f"beside {report.OURS}: HAProxy, nginx, ...")
    parser.add_argument("--with-envoy", action="store_true", help="install Envoy into .cache/envoy first (130 MB)")
    parser.add_argument("--tls", action="store_true", help="TLS 1.3 in front of everybody, plain text behind")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    kept = parser.add_mutually_exclusive_group()  # results are of this tree
    kept.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    kept.add_argument("--against", type=Path, metavar="TREE", help=against.HELP)
    return parser.parse_args()


def race(options: argparse.Namespace) -> list[rounds.Lane]:
    """Starts the upstream and everybody in front of it, and measures."""
    with tempfile.TemporaryDirectory(prefix="modelward-hop-") as folder, Console(stderr=True).status("") as status:
        status.update("starting servers")
        port = free_ports(1)[0]
        with upstream(Path(folder), port) as behind:
            client.wait_until_answered(port, request(), behind)
            shown = certificate.make(Path(folder)) if options.tls else None
            chosen = [make(port, shown) for make in SPEAKING_TLS]
            if not options.tls:
                chosen.insert(2, contestants.transport_spike(port))
            chosen = [c for c in chosen if c.name == report.OURS or not options.only or c.name in options.only]
            if options.against:
                other = against.command(options.against)
                chosen.append(against.named(contestants.modelward(port, shown, other)))
            with rounds.lined_up(chosen, trust=shown.trust if shown else None) as lanes:
                rounds.run(lanes, _requests(options), options.rounds, status.update)
                return lanes


def _requests(options: argparse.Namespace) -> dict[Shape, int]:
    shapes = options.shape or SHAPES
    return {s: round(options.requests * (ONE_STREAM_SHARE if s == report.ALONE else 1.0)) for s in shapes}


def main() -> int:
    options = arguments()
    if not h2load.installed():
        print(f"no race: {h2load.ABSENT}", file=sys.stderr)
        return 2
    if options.with_envoy:
        try:
            proxies.install_envoy()
        except Absent as reason:
            print(f"Envoy: {reason}", file=sys.stderr)
    try:
        lanes = race(options)
    except Absent as reason:
        print(f"no race: {reason}", file=sys.stderr)
        return 2
    shapes, bars = list(_requests(options)), report.bars(lanes, tls=options.tls)
    facts = {**machine.facts(), "proxies": proxies.versions()}
    data: dict[str, Any] = {
        **facts,
        "rounds": options.rounds,
        "requests": {str(shape): count for shape, count in _requests(options).items()},
        "results": {str(shape): rows(lanes, shape) for shape in shapes},
        "bars": [{**asdict(bar), "reached": bar.reached} for bar in bars],
    }
    text = tables(lanes, shapes)
    if options.json:
        print(json.dumps(data, indent=1))
    else:
        print(
            "\n".join(
                [
                    facts["machine"],
                    facts["versions"],
                    facts["proxies"],
                    "",
                    text,
                    "",
                    *map(str, bars),
                    against.compared(lanes),
                ]
            )
        )
    if options.write:
        rounds_run = f"{options.rounds} rounds of {options.requests:,} requests at most"
        body = "\n".join([text, "", "Promises:", "", *(f"- {bar}" for bar in bars)])
        command = machine.command("loadtests.hop")
        title, name = (TLS_TITLE, "hop-tls") if options.tls else (TITLE, "hop")
        document = results.document(title, report.METHOD, {**facts, "rounds": rounds_run}, command, body)
        results.write(name, document, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
