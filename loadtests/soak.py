"""`python -m loadtests.soak`: half an hour of calls, half of them given up, and what is left over."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from loadtests import traffic
from loadtests.callers import Tally
from loadtests.tools import client, machine, results
from loadtests.tools.process import allow_files
from loadtests.tools.results import Bar, table
from loadtests.tools.server import Server, serving

MINUTES = 30.0
WORKERS, UPSTREAMS = 2, 2
PER_SECOND = 3000.0
SETTLED = 1 / 6  # of the time: caches, pools and the allocator have seen everything by then
SAMPLE_SECONDS = 1.0
WARM_UP_SECONDS = 10.0
MEDIANS = 30  # of the whole time
BAR_PERCENT = 3.0
LEAST_GIVEN_UP = 49.0
IDLE_SECONDS = 30.0
MiB = 2**20

METHOD = f"""\
`modelward serve` with {WORKERS} workers, models of its own and {UPSTREAMS} upstreams that are `modelward serve` too.
Clients (frames by hand, connections that come and go) send every kind of call at an even rate and give half of them up
with RST_STREAM: before the body, within it, with its last byte, up to 30 ms later while the call waits or is run, as
its answer comes, or with the whole connection. Every other call must end as its kind says, with an answer of the right
size. Memory is the resident set of all processes of the server, read every second; a median is over a {MEDIANS}th of
the time, judged from the end of the first sixth on. Descriptors are counted when no client is connected: after a first
{WARM_UP_SECONDS:.0f} seconds of the same load, and at the end."""


@dataclass(frozen=True)
class Sample:
    """At `seconds`: calls that are over, and resident bytes of the server and of its upstreams."""

    seconds: float
    calls: int
    server: int
    upstreams: int


@dataclass(frozen=True)
class Idle:
    """What a server has when no client is connected any more."""

    descriptors: int
    inflight: int


@dataclass
class Outcome:
    tally: Tally = field(default_factory=Tally)
    samples: list[Sample] = field(default_factory=list)
    before: Idle | None = None
    after: Idle | None = None
    restarts: int = 0
    cpu_percent: float = 0.0  # of one core, of the server


class Callers:
    """The process of the clients, and what it has told last."""

    def __init__(self, port: int, per_second: float, seed: int) -> None:
        command = [sys.executable, "-m", "loadtests.callers", str(port), str(per_second), str(seed)]
        self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tally = Tally()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            told = json.loads(line)
            for name in ("ended", "given_up", "wrong"):
                getattr(self.tally, name).update(
                    {key: n - getattr(self.tally, name)[key] for key, n in told[name].items()}
                )
            self.tally.connections = told["connections"]

    def check(self) -> None:
        if self._popen.poll() is not None:
            raise RuntimeError(f"the clients ended with code {self._popen.returncode}; their error is above")

    def end(self) -> Tally:
        """Their calls come to an end, and they do."""
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._popen.stdin.close()
        try:
            if self._popen.wait(120):
                raise RuntimeError(f"the clients ended with code {self._popen.returncode}; their error is above")
        finally:
            self._popen.kill()
            self._reader.join()
            self._popen.stdout.close()
        return self.tally


@contextmanager
def soaked(folder: Path) -> Iterator[tuple[Server, list[Server]]]:
    """The server and its upstreams."""
    with ExitStack() as stack:
        behind = []
        for i in range(UPSTREAMS):
            place = folder / f"upstream-{i}"
            place.mkdir()
            behind.append(stack.enter_context(serving(place, traffic.upstream_configuration(place))))
        settings = traffic.configuration(folder, [upstream.grpc for upstream in behind])
        server = stack.enter_context(serving(folder, settings, WORKERS))
        # this uses up the limit that a later kind must be refused by
        limited = next(kind for kind in traffic.kinds() if kind.status == "RESOURCE_EXHAUSTED")
        client.wait_until_answered(server.grpc, limited.message, server.process)
        yield server, behind


def idle(server: Server) -> Idle:
    """Once no client is connected; what is still in flight after a while will never end."""
    server.wait_until_counted("modelward_connections", 0, seconds=IDLE_SECONDS)
    with suppress(TimeoutError):
        server.wait_until_counted("modelward_inflight", 0, seconds=IDLE_SECONDS)
    return Idle(server.descriptors(), int(server.counted("modelward_inflight")))


def soak(seconds: float, per_second: float, said: Callable[[Outcome, float], None] = lambda *_: None) -> Outcome:
    """Runs it all; raises where the server or the clients end."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="modelward-soak-") as folder, soaked(Path(folder)) as (server, behind):
        warm_up = Callers(server.grpc, per_second, seed=0)
        threading.Event().wait(min(WARM_UP_SECONDS, seconds))
        outcome.tally.wrong += warm_up.end().wrong
        outcome.before = idle(server)
        callers, began, burnt = Callers(server.grpc, per_second, seed=1), time.monotonic(), server.process.cpu_ns()
        while (passed := time.monotonic() - began) < seconds:
            server.process.check(min(SAMPLE_SECONDS, seconds - passed))
            callers.check()
            resident = sum(upstream.process.resident_bytes() for upstream in behind)
            passed = time.monotonic() - began
            outcome.samples.append(Sample(passed, callers.tally.calls, server.process.resident_bytes(), resident))
            outcome.tally = callers.tally
            said(outcome, passed)
        outcome.cpu_percent = (server.process.cpu_ns() - burnt) / 1e7 / (time.monotonic() - began)
        outcome.tally = callers.end()
        outcome.tally.wrong += warm_up.tally.wrong
        outcome.after = idle(server)
        outcome.restarts = int(server.counted("modelward_worker_restarts_total"))
    return outcome


# ---- what is made of it ----------------------------------------------------------------------------------------


def medians(samples: list[Sample], of: Callable[[Sample], float]) -> list[float]:
    """Of equal parts of the time."""
    return [statistics.median(map(of, part)) for part in parts(samples)]


def parts(samples: list[Sample]) -> list[list[Sample]]:
    count = min(MEDIANS, len(samples))
    return [samples[i * len(samples) // count : (i + 1) * len(samples) // count] for i in range(count)]


def settled(figures: list[float]) -> list[float]:
    return figures[round(SETTLED * len(figures)) :]


def growth_percent(figures: list[float]) -> float:
    """What a straight line through them gains from the first to the last."""
    slope, start = np.polyfit(np.arange(len(figures)), figures, 1)
    return float(100 * slope * (len(figures) - 1) / start)


def range_percent(figures: list[float]) -> float:
    return 100 * (max(figures) - min(figures)) / min(figures)


def bars(outcome: Outcome) -> list[Bar]:
    assert outcome.before is not None and outcome.after is not None
    judged = []
    for name, of in (("server", _server), ("upstreams", _upstreams)):
        figures = settled(medians(outcome.samples, of))
        judged.append(Bar(f"growth of memory, {name}", growth_percent(figures), BAR_PERCENT, "%"))
        judged.append(Bar(f"highest over lowest median of memory, {name}", range_percent(figures), BAR_PERCENT, "%"))
    given_up = 100 * outcome.tally.given_up.total() / max(1, outcome.tally.calls)
    return [
        *judged,
        Bar("descriptors more than before", outcome.after.descriptors - outcome.before.descriptors, 0, ""),
        Bar("in flight at the end", outcome.after.inflight, 0, ""),
        Bar("calls and connections that ended otherwise than they should", outcome.tally.wrong.total(), 0, ""),
        Bar("workers that died", outcome.restarts, 0, ""),
        Bar("given up by the client", given_up, LEAST_GIVEN_UP, "%", at_most=False),
    ]


def _server(sample: Sample) -> float:
    return sample.server


def _upstreams(sample: Sample) -> float:
    return sample.upstreams


def tables(outcome: Outcome) -> str:
    tally, rows = outcome.tally, []
    for part in parts(outcome.samples):
        server, upstreams = (statistics.median(map(of, part)) / MiB for of in (_server, _upstreams))
        rows.append((f"{part[-1].seconds / 60:.1f}", f"{part[-1].calls:,}", f"{server:.1f}", f"{upstreams:.1f}"))
    ends = [(kind.name, kind.status, f"{tally.ended[kind.name]:,}") for kind in traffic.kinds()]
    moments = [(moment, f"{count:,}") for moment, count in tally.given_up.most_common()]
    wrong = [(what, f"{count:,}") for what, count in tally.wrong.most_common() if count]
    found = [
        table(("minute", "calls", "server MiB", "upstreams MiB"), rows),
        f"{tally.calls:,} calls on {tally.connections:,} connections; the server took {outcome.cpu_percent:.0f} % of a"
        " core.",
        table(("given up", "calls"), moments),
        table(("answered", "ends with", "calls"), ends),
    ]
    return "\n\n".join(found + ([table(("wrong", "times"), wrong)] if wrong else []))


def main() -> int:
    """0 if nothing has grown, is left over or went wrong."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--per-second", type=float, default=PER_SECOND, help="calls (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace loadtests/results/soak.md and soak.json")
    arguments = parser.parse_args()
    allow_files(4096)
    columns = (TextColumn("{task.description:60}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=60 * arguments.minutes)

        def said(outcome: Outcome, seconds: float) -> None:
            tally, resident = outcome.tally, outcome.samples[-1].server / MiB
            text = f"{tally.calls:,} calls, {tally.wrong.total()} wrong, {resident:.1f} MiB"
            progress.update(task, description=text, completed=seconds)

        outcome = soak(60 * arguments.minutes, arguments.per_second, said)
    judged = bars(outcome)
    body = "\n\n".join([tables(outcome), "\n".join(f"- {bar}" for bar in judged)])
    facts = machine.facts()
    data: dict[str, Any] = {**facts, "bars": {bar.name: bar.figure for bar in judged}}
    data["samples"] = [
        list(asdict(sample).values()) for sample in outcome.samples[:: max(1, len(outcome.samples) // 300)]
    ]
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.soak")
        results.write(
            "soak",
            results.document("Memory, and what is left over, after half an hour", METHOD, facts, command, body),
            data,
        )
    return 0 if all(bar.reached for bar in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
