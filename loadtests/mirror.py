"""`python -m loadtests.mirror`: what clients notice of shadows that get all of their requests, and of broken ones."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console

from loadtests.tools import client, h2load, machine, models, results
from loadtests.tools.h2load import Shape
from loadtests.tools.process import Process, free_ports, started, tree
from loadtests.tools.results import Bar, table
from loadtests.tools.server import Server, serving

T = TypeVar("T")

MODEL = "light"  # the slow model server knows it
ALONE, AGAIN, TWICE, REMOTE, SLOW, FROZEN, CRASHING = (
    "no shadow", "none either", "here, the same version",
    "another server", "a slow server", "a frozen server", "a server that dies",
)  # fmt: skip
CALM, BUSY = Shape(4, 8), Shape(8, 16)
RATE = 1500.0  # requests a second while cores are free
WARM_SECONDS = 2.0
LONGER = 2.0  # a busy round than a calm one: it takes 150 ms to find out that there is no time to spare
PROBE_REQUESTS = 100_000
WORST_P99, LEAST_THROUGHPUT = 1.05, 0.95
SETTINGS_FRAME = b"\0\0\0\4\0\0\0\0\0"  # empty: the least that a server of HTTP/2 says
HANDSHAKE_BYTES = 200  # more than a client says before its first request

METHOD = f"""\
A model of {models.FEATURES} inputs and three layers, run by one worker. Its requests are mirrored, every one, to a
second session of the same version in the same process; to another Modelward on this machine; to a model server that
answers 800 requests a second (both with SCHED_IDLE, as if on a machine of their own); to one that accepts connections
and never answers; to one that closes each connection with the first request. h2load sends {RATE:,.0f} requests a second
({CALM}: cores are free), and as many as are answered ({BUSY}: they are not), to each server in turn, and each time to
one without a shadow right before or after it. What counts are the p99s of all rounds together, and the median of the
rounds' ratios of throughput; a second server without a shadow tells the noise. What was mirrored is counted by the
server, over all rounds; pairs that failed are among it."""


@dataclass
class Measured:
    """One server. taken: microseconds of every request, calm, its own and those of the server without a shadow.

    per_second: busy, of each round, likewise. cpu: microseconds of all its processes per request, calm. mirrored: share
    of the requests, calm and busy.
    """

    name: str
    server: Server
    taken: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    per_second: list[tuple[float, float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    mirrored: dict[str, float] = field(default_factory=dict)

    def pairs(self) -> float:
        return self.server.counted("modelward_shadow_pairs_total")


class Broken:
    """Accepts connections to a port of its own; closes: with their first request, else it never answers any."""

    def __init__(self, closes: bool) -> None:
        self._closes = closes
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS_FRAME)
        heard = 0
        while data := await reader.read(65536):
            heard += len(data)
            if self._closes and heard > HANDSHAKE_BYTES:
                break
        writer.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@contextmanager
def arena(folder: Path) -> Iterator[tuple[list[Measured], Path]]:
    """All servers, and the file with a request."""
    repository, body = folder / "models", folder / "body"
    (repository / MODEL / "1").mkdir(parents=True)
    (repository / MODEL / "1" / "model.onnx").write_bytes(models.mlp())
    message = client.request(MODEL, {"X": np.zeros((1, models.FEATURES), np.float32)}).SerializeToString()
    body.write_bytes(client.framed(message))
    with ExitStack() as stack:

        def serve(name: str, shadow: Mapping[str, Any] | None) -> Server:
            own = folder / name.replace(" ", "-")
            own.mkdir()
            settings = {"repository": str(repository), "state": str(own / "state")}
            model = {"shadow": {"warmup": 0, **shadow}} if shadow else {}
            return stack.enter_context(serving(own, {**settings, "models": {MODEL: model}}))

        broken = [Broken(closes) for closes in (False, True)]
        for one in broken:
            stack.callback(one.close)
        slow = free_ports(1)[0]
        model_server = [sys.executable, "-m", "loadtests.siege.backend", str(slow)]
        elsewhere(stack.enter_context(started("model server", model_server)))
        behind = serve("the other server", None)
        elsewhere(behind.process)
        shadows: dict[str, Mapping[str, Any] | None] = {
            ALONE: None,
            AGAIN: None,
            TWICE: {"version": "1"},
            REMOTE: {"upstreams": [f"127.0.0.1:{behind.grpc}"]},
            SLOW: {"upstreams": [f"127.0.0.1:{slow}"]},
            FROZEN: {"upstreams": [f"127.0.0.1:{broken[0].port}"]},
            CRASHING: {"upstreams": [f"127.0.0.1:{broken[1].port}"]},
        }
        measured = [Measured(name, serve(name, shadow)) for name, shadow in shadows.items()]
        for each in measured:
            with client.channel(each.server.grpc) as channel:
                client.infer(channel, message)
        yield measured, body


def elsewhere(process: Process) -> None:
    """On another machine it would take no core from anybody here: it gets only what they leave."""
    for pid in tree(process.pid):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))


def measure(
    everybody: Sequence[Measured], body: Path, rounds: int, seconds: float, told: Callable[[str], None]
) -> None:
    """Raises LoadFailed where any request was not answered."""
    alone, *others = everybody
    for one in everybody:
        h2load.latencies(one.server.grpc, body, RATE, WARM_SECONDS, CALM)
    capacity = h2load.run(alone.server.grpc, body, PROBE_REQUESTS, BUSY).per_second
    before = {one.name: one.pairs() for one in others}
    for i in range(rounds):
        for one in others:
            told(f"calm, round {i + 1} of {rounds}: {one.name}")
            ours, theirs = beside(one, alone, i, lambda each: calm(each, body, seconds))
            one.taken[0].extend(ours)
            one.taken[1].extend(theirs)
    for one in others:
        one.mirrored["calm"] = (one.pairs() - before[one.name]) / (rounds * RATE * seconds)
    before, requests = {one.name: one.pairs() for one in others}, round(capacity * seconds * LONGER)
    for i in range(rounds):
        for one in others:
            told(f"busy, round {i + 1} of {rounds}: {one.name}")
            one.per_second.append(
                beside(one, alone, i, lambda each: h2load.run(each.server.grpc, body, requests, BUSY).per_second)
            )
    for one in others:
        one.mirrored["busy"] = (one.pairs() - before[one.name]) / (rounds * requests)


def beside(one: Measured, alone: Measured, turn: int, figure: Callable[[Measured], T]) -> tuple[T, T]:
    """Its figure and that of the other, one right after the other, in turns either first."""
    if turn % 2:
        theirs = figure(alone)
        return figure(one), theirs
    return figure(one), figure(alone)


def calm(one: Measured, body: Path, seconds: float) -> list[int]:
    """Microseconds of each request."""
    before = one.server.process.cpu_ns()
    taken = h2load.latencies(one.server.grpc, body, RATE, seconds, CALM)
    one.cpu.append((one.server.process.cpu_ns() - before) / 1e3 / len(taken))
    return taken


def p99(taken: Sequence[int]) -> int:
    return sorted(taken)[len(taken) * 99 // 100]


def slower(one: Measured) -> float:
    """Its p99 by that of the server without a shadow."""
    ours, theirs = map(p99, one.taken)
    return ours / theirs


def ratio(figures: Sequence[tuple[float, float]]) -> float:
    """The median of each round's."""
    return statistics.median(ours / theirs for ours, theirs in figures)


def bars(everybody: Sequence[Measured]) -> list[Bar]:
    return [
        bar
        for one in everybody
        if one.name not in (ALONE, AGAIN)
        for bar in (
            Bar(f"{one.name}: p99 while cores are free", slower(one), WORST_P99, "times"),
            Bar(
                f"{one.name}: throughput while they are not",
                ratio(one.per_second),
                LEAST_THROUGHPUT,
                "times",
                at_most=False,
            ),
        )
    ]


def report(everybody: Sequence[Measured]) -> str:
    rows = [
        (
            one.name,
            f"{p99(one.taken[0]):,}",
            f"{slower(one):.2f}",
            f"{statistics.median(one.cpu):.0f}",
            f"{statistics.median(ours for ours, _ in one.per_second):,.0f}",
            f"{ratio(one.per_second):.2f}",
            f"{one.mirrored['calm']:.0%}",
            f"{one.mirrored['busy']:.0%}",
        )
        for one in everybody
        if one.name != ALONE
    ]
    columns = (
        "shadow", "p99 us, calm", "times", "CPU us, calm",
        "per second, busy", "times", "mirrored, calm", "mirrored, busy",
    )  # fmt: skip
    return table(columns, rows)


def main() -> int:
    """0 if clients notice no more than they may."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.mirror", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="of each load (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of a calm round (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    if not h2load.installed():
        print(f"nothing measured: {h2load.ABSENT}", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory(prefix="modelward-mirror-") as folder,
        Console(stderr=True).status("starting servers") as status,
        arena(Path(folder)) as (everybody, body),
    ):
        measure(everybody, body, arguments.rounds, arguments.seconds, status.update)
        judged, text = bars(everybody), report(everybody)
    text = "\n".join([text, "", *(f"- {bar}" for bar in judged)])
    facts = {**machine.facts(), "rounds": f"{arguments.rounds} of {arguments.seconds} s each"}
    found = {
        one.name: {
            "p99_us": [p99(taken) for taken in one.taken if taken],
            "cpu_us": one.cpu,
            "per_second": one.per_second,
            "mirrored": one.mirrored,
        }
        for one in everybody
    }
    data = {**facts, "measured": found, "bars": {bar.name: bar.figure for bar in judged}}
    print(json.dumps(data, indent=1) if arguments.json else text)
    if arguments.write:
        command = machine.command("loadtests.mirror")
        results.write("mirror", results.document("Shadows, as clients notice them", METHOD, facts, command, text), data)
    return 0 if all(bar.reached for bar in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
