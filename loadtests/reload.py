"""`python -m loadtests.reload`: a thousand versions of a model swapped under load, and what is left of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loadtests.restarts import PLAIN, Outcome, load, message, small
from loadtests.soak import growth_percent, range_percent
from loadtests.tools import client, machine, models, results
from loadtests.tools.results import Bar, table
from loadtests.tools.server import Server
from modelward.rpc.protocol import message_class

RELOADS, SWAPS = 100, 1000
CLIENTS = 4
SETTLED = 1 / 10  # of the swaps: the allocator and the figures of removed versions have what they need by then
MEDIANS = 18  # of the swaps after that
BAR_PERCENT = 3.0
SWAP_SECONDS = 5.0
LOOK_SECONDS = 0.02
MiB = 2**20
RELOADED = "modelward_reloads_total"

METHOD = f"""\
`modelward serve` with two workers and one small model; {CLIENTS} grpc.aio clients, each on a connection of its own, ask
one thing after the other all the time. First SIGHUP, each time once the one before has been applied by every worker.
Then swaps: the next version's folder is renamed into the repository, the present one is removed, and the server follows
by itself; a swap has taken until a client is answered by the new version. Memory is the resident set of all processes
of the server after each swap, in medians over parts of the swaps, from the end of the first tenth on."""


@dataclass
class Swaps:
    """seconds, resident: of each. series: lines of /metrics after the first tenth, and at the end."""

    seconds: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    series: list[int] = field(default_factory=list)


async def reloads(server: Server, count: int, said: Callable[[], None]) -> list[float]:
    """Seconds that each took."""
    taken = []
    for _ in range(count):
        began, before = time.monotonic(), await _applied(server)
        os.kill(server.process.pid, signal.SIGHUP)
        while await _applied(server) == before:
            server.process.check()
            await asyncio.sleep(LOOK_SECONDS)
        taken.append(time.monotonic() - began)
        said()
    return taken


async def _applied(server: Server) -> float:
    return await asyncio.to_thread(server.counted, RELOADED, 'result="applied"')


async def swaps(server: Server, count: int, said: Callable[[], None]) -> Swaps:
    """Each once the one before is served."""
    found, model = Swaps(), server.config.parent / "models" / models.MLP
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc}", options=PLAIN) as channel:
        infer, answer = channel.unary_unary(client.INFER), message_class("inference.ModelInferResponse")
        for version in range(2, count + 2):
            made = server.config.parent / "next"
            made.mkdir()
            (made / "model.onnx").write_bytes(models.mlp(seed=version))
            began = time.monotonic()
            made.rename(model / str(version))
            shutil.rmtree(model / str(version - 1))
            while answer.FromString(await infer(message(), timeout=10.0)).model_version != str(version):
                server.process.check()
                await asyncio.sleep(LOOK_SECONDS)
            found.seconds.append(time.monotonic() - began)
            found.resident.append(server.process.resident_bytes())
            if version - 1 in (max(1, round(SETTLED * count)), count):
                found.series.append(sum(not line.startswith("#") for line in server.page("/metrics").splitlines()))
            said()
    return found


async def measure(reloading: int, swapping: int, said: Callable[[], None]) -> tuple[Outcome, list[float], Swaps]:
    outcome = Outcome()
    with small({}) as server:
        async with load(server.grpc, outcome, PLAIN, CLIENTS):
            taken = await reloads(server, reloading, said)
            swapped = await swaps(server, swapping, said)
    return outcome, taken, swapped


# ---- the table -----------------------------------------------------------------------------------------------


def medians(figures: list[int]) -> list[float]:
    """Of equal parts of those after the first tenth."""
    figures = figures[round(SETTLED * len(figures)) :]
    count = min(MEDIANS, len(figures))
    return [
        statistics.median(figures[i * len(figures) // count : (i + 1) * len(figures) // count]) for i in range(count)
    ]


def main() -> int:
    """0 if no request failed and nothing has grown."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.reload", description=__doc__)
    parser.add_argument("--reloads", type=int, default=RELOADS)
    parser.add_argument("--swaps", type=int, default=SWAPS)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reloads and swaps", total=arguments.reloads + arguments.swaps)
        measured = asyncio.run(measure(arguments.reloads, arguments.swaps, lambda: progress.advance(task)))
    outcome, taken, swapped = measured
    memory = medians(swapped.resident)
    rows = [
        (what, len(figures), f"{statistics.median(figures):.2f}", f"{max(figures):.2f}")
        for what, figures in (("reload (SIGHUP)", taken), ("swap of a version, noticed by itself", swapped.seconds))
    ]
    bars = [
        Bar(f"of {outcome.answered:,} requests failed", outcome.failed.total(), 0, ""),
        Bar("growth of memory", growth_percent(memory), BAR_PERCENT, "%"),
        Bar("highest over lowest median of memory", range_percent(memory), BAR_PERCENT, "%"),
        Bar("slowest swap", max(swapped.seconds), SWAP_SECONDS, "s"),
        Bar("series in /metrics more than after the first tenth", swapped.series[-1] - swapped.series[0], 0, ""),
    ]
    mib = ", ".join(f"{figure / MiB:.1f}" for figure in memory)
    told = ", ".join(f"{count} {what}" for what, count in outcome.failed.items()) or "none"
    body = "\n\n".join([
        table(("what", "times", "median s", "longest s"), rows),
        f"Memory in MiB, from the first tenth on: {mib}.",
        f"Failed requests: {told}.",
        "\n".join(f"- {bar}" for bar in bars),
    ])  # fmt: skip
    facts = machine.facts()
    data = {**facts, "bars": {bar.name: bar.figure for bar in bars}, "memory": memory}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.reload")
        results.write("reload", results.document("Versions that come and go", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
