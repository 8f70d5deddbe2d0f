"""`python -m loadtests.slow`: a model that takes longer than its deadline, and what its clients get in time.

Every request must be answered OK by the fallback value, before the client's own timeout by the client's own clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from rich.console import Console
from rich.progress import Progress

from loadtests.race.ours import serve
from loadtests.tools import client, machine, results
from loadtests.tools.process import free_ports
from loadtests.tools.results import Bar, table
from modelward.rpc.protocol import message_class
from tests.models import repository, slow_loop

MODEL = "sleepy"
ITERATIONS = 20_000  # 200 ms for one row, four times the deadline; more rows take longer
DEADLINE_MS = 50
CLIENT_TIMEOUT_MS = 100
IN_TIME = "fallback, in time"

METHOD = f"""\
A model whose run takes about 200 ms (products of matrices in a loop), `deadline: {DEADLINE_MS}ms` and a fallback value.
A grpc.aio client keeps several requests under way on one connection (50 unless the command says otherwise), each with a
timeout of {CLIENT_TIMEOUT_MS} ms. Times are the client's, from before the call to the answer in hand."""


@dataclass(frozen=True)
class Outcome:
    """What the clients got, by kind, and how long it took them in ms."""

    requests: int
    kinds: dict[str, int]
    median_ms: float
    p99_ms: float
    longest_ms: float

    @property
    def share_in_time(self) -> float:
        return self.kinds.get(IN_TIME, 0) / self.requests


@contextmanager
def slow_server() -> Iterator[int]:
    """The port of a server of the slow model."""
    settings = {
        "deadline": f"{DEADLINE_MS}ms",
        "fallback": [{"value": {"y": [[0.0, 0.0, 0.0, 0.0]]}}],
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelward-slow-")))
        models = repository(folder / "models", {MODEL: slow_loop(ITERATIONS)})
        port = free_ports(1)[0]
        config = {"repository": str(models), "models": {MODEL: settings}}
        process = stack.enter_context(serve(folder / "config.yaml", config, port))
        client.wait_until_answered(port, message(), process)
        yield port


def message() -> bytes:
    encoded: bytes = client.request(MODEL, {"x": np.ones((1, 4), np.float32)}).SerializeToString()
    return encoded


async def ask(
    port: int,
    requests: int,
    at_once: int,
    answered: Callable[[], None] = lambda: None,
    timeout_ms: float = CLIENT_TIMEOUT_MS,
) -> Outcome:
    """Sends `requests`, `at_once` of them under way at any time, over one connection."""
    kinds: Counter[str] = Counter()
    times: list[float] = []
    left = iter(range(requests))
    body = message()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client.OPTIONS) as channel:
        await channel.channel_ready()
        infer = channel.unary_unary(client.INFER)

        async def worker() -> None:
            for _ in left:
                start = time.perf_counter()
                try:
                    answer = await infer(body, timeout=timeout_ms / 1e3)
                except grpc.aio.AioRpcError as error:
                    answer, kind = None, error.code().name
                took_ms = (time.perf_counter() - start) * 1e3
                if answer is not None:
                    kind = _kind(answer, took_ms, timeout_ms)
                kinds[kind] += 1
                times.append(took_ms)
                answered()

        await asyncio.gather(*(worker() for _ in range(at_once)))
    times.sort()
    p99 = times[min(len(times) - 1, len(times) * 99 // 100)]
    return Outcome(requests, dict(kinds), statistics.median(times), p99, times[-1])


def _kind(answer: bytes, took_ms: float, timeout_ms: float) -> str:
    response: Any = message_class("inference.ModelInferResponse").FromString(answer)
    parameters = response.parameters
    if "modelward_fallback" not in parameters:
        return "answered by the model"
    reason = parameters["modelward_fallback"].string_param
    if reason != "deadline":
        return f"fallback because of {reason}"
    return IN_TIME if took_ms <= timeout_ms else "fallback, too late"


def report(outcome: Outcome) -> str:
    rows = [(kind, f"{count:,}", f"{count / outcome.requests:.3%}") for kind, count in sorted(outcome.kinds.items())]
    times = f"{outcome.median_ms:.1f} ms median, {outcome.p99_ms:.1f} ms p99, {outcome.longest_ms:.1f} ms longest"
    return f"{table(('what clients got', 'requests', 'share'), rows)}\n\nAnswers took {times}."


def main() -> int:
    """0 if every request was answered by the fallback in time."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.slow", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=50, help="requests under way (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace loadtests/results/slow.md and slow.json")
    arguments = parser.parse_args()
    with slow_server() as port, Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("requests", total=arguments.requests)
        outcome = asyncio.run(ask(port, arguments.requests, arguments.at_once, lambda: progress.advance(task)))
    bar = Bar("answered by the fallback in time", 100 * outcome.share_in_time, 100.0, "%", at_most=False)
    facts, body = machine.facts(), f"{report(outcome)}\n\n{bar}"
    data = {**facts, **asdict(outcome), "at_once": arguments.at_once, "reached": bar.reached}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.slow")
        results.write("slow", results.document("A model slower than its deadline", METHOD, facts, command, body), data)
    return 0 if bar.reached else 1


if __name__ == "__main__":
    sys.exit(main())
