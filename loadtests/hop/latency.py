"""`python -m loadtests.hop.latency`: what a hop adds to the latency at half of the rate that HAProxy can do at most."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from loadtests.hop import contestants, proxies, report
from loadtests.hop.upstream import upstream
from loadtests.race import rounds
from loadtests.race.contestant import Absent, request
from loadtests.race.rounds import Lane
from loadtests.tools import client, h2load, machine, results
from loadtests.tools.h2load import Shape
from loadtests.tools.process import free_ports
from loadtests.tools.results import Bar

PEAK_REQUESTS = 40_000
SHAPE = Shape(8, 16)
DIRECT = "no proxy"

TITLE = "One proxied hop: added latency at half of HAProxy's peak rate"
METHOD = """\
HAProxy's peak is the median rate of three closed-loop rounds of h2load, 8 connections x 16 streams. Then everybody gets
half of that rate for some seconds at a time, in alternating rounds after a warm-up round, and so does the upstream
without anybody in front of it. Each figure is the median over the rounds of that round's percentile; what is added is
the difference to the upstream alone. Load, proxy and upstream share the machine's cores."""


@dataclass
class Measured:
    """One contestant. p50, p99: microseconds, one per round."""

    name: str
    port: int
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.hop.latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="after a warm-up round (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one round (default: %(default)s)")
    parser.add_argument("--with-envoy", action="store_true", help="install Envoy into .cache/envoy first (130 MB)")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> tuple[float, list[Measured]]:
    """Half of HAProxy's peak in requests per second, and everybody's latencies at that rate. Raises Absent."""
    with tempfile.TemporaryDirectory(prefix="modelward-hop-") as folder, Console(stderr=True).status("") as status:
        status.update("starting servers")
        port, body = free_ports(1)[0], Path(folder) / "body"
        body.write_bytes(client.framed(request()))
        with ExitStack() as stack:
            behind = stack.enter_context(upstream(Path(folder), port))
            client.wait_until_answered(port, request(), behind)
            makers = (contestants.modelward, proxies.haproxy, proxies.nginx, proxies.envoy)
            lanes = stack.enter_context(rounds.lined_up([make(port) for make in makers]))
            status.update("HAProxy's peak")
            rate = _peak(lanes, body) / 2
            everybody = [*(Measured(lane.contestant.name, lane.running.port) for lane in lanes), Measured(DIRECT, port)]
            for number in range(options.rounds + 1):
                for one in everybody if number % 2 == 0 else reversed(everybody):
                    status.update(f"{rate:,.0f} requests/s, round {number} of {options.rounds}: {one.name}")
                    taken = h2load.latencies(one.port, body, rate, options.seconds, SHAPE)
                    if number:
                        percentiles = statistics.quantiles(taken, n=100)
                        one.p50.append(percentiles[49])
                        one.p99.append(percentiles[98])
            return rate, everybody


def _peak(lanes: Sequence[Lane], body: Path) -> float:
    """HAProxy's, requests per second. Raises Absent."""
    port = next((lane.running.port for lane in lanes if lane.contestant.name == "HAProxy"), None)
    if port is None:
        raise Absent("HAProxy's peak is the measure, and it is not there")
    return statistics.median(h2load.run(port, body, PEAK_REQUESTS, SHAPE).per_second for _ in range(3))


def bars(everybody: Sequence[Measured]) -> list[Bar]:
    added = {one.name: _added(one, everybody) for one in everybody}
    ours = added.pop(report.OURS)
    return [Bar(f"added p99, against {name}", ours, theirs, "us") for name, theirs in added.items() if name != DIRECT]


def _added(one: Measured, everybody: Sequence[Measured]) -> float:
    direct = next(other for other in everybody if other.name == DIRECT)
    return statistics.median(one.p99) - statistics.median(direct.p99)


def table(everybody: Sequence[Measured]) -> str:
    rows = [
        (one.name, f"{statistics.median(one.p50):,.0f}", f"{statistics.median(one.p99):,.0f}",
         f"{min(one.p99):,.0f}-{max(one.p99):,.0f}", f"{_added(one, everybody):,.0f}")
        for one in everybody
    ]  # fmt: skip
    return results.table(("server", "p50 us", "p99 us", "lowest-highest p99", "added p99 us"), rows)


def main() -> int:
    options = arguments()
    try:
        if options.with_envoy:
            proxies.install_envoy()
        rate, everybody = measure(options)
    except Absent as reason:
        print(f"nothing measured: {reason}", file=sys.stderr)
        return 2
    judged = bars(everybody)
    text = "\n".join([f"At {rate:,.0f} requests/s:", "", table(everybody), "", *(f"- {bar}" for bar in judged)])
    print(text)
    if options.write:
        facts = {**machine.facts(), "proxies": proxies.versions(), "rounds": f"{options.rounds} of {options.seconds} s"}
        document = results.document(TITLE, METHOD, facts, machine.command("loadtests.hop.latency"), text)
        results.write("hop-latency", document, {**facts, "rate": rate, "measured": [vars(one) for one in everybody]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
