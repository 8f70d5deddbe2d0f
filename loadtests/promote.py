"""`python -m loadtests.promote`: versions promoted and taken back under load, and what clients see of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from rich.console import Console

from loadtests.restarts import PLAIN
from loadtests.tools import client, machine, results
from loadtests.tools.results import Bar, table
from loadtests.tools.server import Server, serving
from modelward.cli.admin import Client
from modelward.config.address import Address
from modelward.rpc.protocol import message_class
from tests.models import add_one, add_one_below, identity, repository, slow_loop

WORKERS = 2
CLIENTS, PER_SECOND = 20, 400.0  # of all clients together
MODEL, OLD, NEW = "judge", "1", "2"
LIMIT = 100  # a version that begins to fail does so with numbers of this size
SLOW_ITERATIONS = 5_000  # 50 ms for one row
AUTO_STEPS, FAIL_STEPS, SLOW_STEPS = (25, 50, 100), (20, 100), (5, 100)
# of the one that goes on by itself: each step waits for answers that decide them, some 700
AUTO_BOUNDS = {"outputs": "off", "latency": 10, "errors": 0.05, "fallbacks": 0.05}
TO_ROLLBACK = ": to the rollback"
ROLLBACK_SECONDS, OUTPUTS_SECONDS = 5.0, 10.0  # answers that are other take many of them to tell apart
WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.05
EDGE_SECONDS = 0.5  # of requests and messages to workers that are on their way when shares change
RELOAD_EVERY_SECONDS = 1.0
SIGMAS = 4.0  # chance alone goes beyond in one case of 30,000
TIMEOUT_SECONDS = 10.0
REPLACED = "replaced"
FALLBACK = [{"value": {"y": [[0.0, 0.0, 0.0, 0.0]]}}]

METHOD = f"""\
`modelward serve` with {WORKERS} workers and two versions of one small model; {CLIENTS} grpc.aio clients, each on a
connection of its own, ask {PER_SECOND:.0f} times a second together, at an even rate. Meanwhile SIGHUP reloads
the server, a second after the reload before. Versions are promoted and rolled back by the admin API, as
`modelward promote` and `rollback` do it. A version that begins to fail is good at first; then clients send rows on
which it fails and the other does not. A slow version takes 50 ms for a row, and one that answers otherwise gives
other numbers, both from their first rows on. The time to a rollback is the clients': from when the first request began
that the version did not answer as it should to when the last of them did; the share that was hit is of the requests
that began in this time, and is allowed {SIGMAS:.0f} standard deviations above the step's."""


@dataclass(frozen=True)
class Pace:
    """Seconds of a step, before anything is done to a version, and after it has gone, in which nothing of it may be
    left."""

    steps: tuple[int, ...] = AUTO_STEPS  # of the one that goes on by itself
    hold: float = 5.0
    settled: float = 3.0
    after: float = 2.0


@dataclass(frozen=True)
class Asked:
    """One request: when it began and ended (monotonic seconds), the version that answered, and how: "OK", REPLACED by
    the fallback, or its status."""

    began: float
    ended: float
    version: str
    how: str


@dataclass
class Traffic:
    """What clients have asked so far. value: that they send from now on."""

    value: float = 1.0
    asked: list[Asked] = field(default_factory=list)
    reloads: int = 0

    def between(self, began: float, ended: float) -> list[Asked]:
        """Requests that began in this time."""
        return [each for each in self.asked if began <= each.began <= ended]


@dataclass(frozen=True)
class Step:
    """What a step's share was: of the requests in its time, those that the version answered."""

    percent: int
    seconds: float
    requests: int
    answered: int

    @property
    def deviations(self) -> float:
        """From the share that was wanted, in standard deviations."""
        return abs(self.answered - self.requests * self.percent / 100) / max(_deviation(self), 1.0)


@dataclass(frozen=True)
class Outcome:
    """One case.

    seconds: until it had everything; until the last answer of a version that was rolled back by hand; from the first
    request that was hit to the last. percent: of the step. wanted, reason: what it should be and was taken back for, by
    the metric. hit: requests that it did not answer as it should. replaced: those that the fallback answered. among:
    all that began from the first to the last of these. late: that began once a rollback by hand was done, and were its.
    """

    name: str
    requests: int
    failed: int
    reloads: int
    seconds: float
    percent: int = 100
    wanted: str = ""
    reason: str = ""
    hit: int = 0
    replaced: int = 0
    among: int = 0
    late: int = 0
    steps: tuple[Step, ...] = ()

    @property
    def share(self) -> float:
        """Of the requests in that time, in percent, without the first and the last: they bound it, and so are hit."""
        return 100 * max(self.hit - 2, 0) / max(self.among - 2, 1)

    @property
    def most(self) -> float:
        """That chance makes of the step's share, in percent."""
        part = self.percent / 100
        return 100 * (part + SIGMAS * math.sqrt(part * (1 - part) / max(self.among, 1)))


def _deviation(step: Step) -> float:
    part = step.percent / 100
    return math.sqrt(step.requests * part * (1 - part))


# ---- clients, and what is done to the server ------------------------------------------------------------------------


def _body(value: float) -> bytes:
    return bytes(client.request(MODEL, {"x": np.full((1, 4), value, np.float32)}).SerializeToString())


@asynccontextmanager
async def traffic(server: Server) -> AsyncIterator[Traffic]:
    """Clients that ask at an even rate, and reloads, meanwhile. Raises whatever one of them does."""
    found, over = Traffic(), asyncio.Event()
    response = message_class("inference.ModelInferResponse")
    bodies: dict[float, bytes] = {}

    async def ask(number: int) -> None:
        every = CLIENTS / PER_SECOND
        due = time.monotonic() + every * number / CLIENTS
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc}", options=PLAIN) as channel:
            call = channel.unary_unary(client.INFER, response_deserializer=response.FromString)
            while not over.is_set():
                due = max(due + every, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
                body = bodies.get(found.value) or bodies.setdefault(found.value, _body(found.value))
                began, version, how = time.monotonic(), "", "OK"
                try:
                    answer = await call(body, timeout=TIMEOUT_SECONDS)
                except grpc.aio.AioRpcError as error:
                    how = error.code().name
                else:
                    version = answer.model_version
                    if "modelward_fallback" in answer.parameters:
                        how = REPLACED
                found.asked.append(Asked(began, time.monotonic(), version, how))

    async def reload() -> None:
        while not over.is_set():
            before = await _counted(server, "modelward_reloads_total", 'result="applied"')
            os.kill(server.process.pid, signal.SIGHUP)
            while await _counted(server, "modelward_reloads_total", 'result="applied"') == before:
                server.process.check()
                await asyncio.sleep(LOOK_SECONDS)
            found.reloads += 1
            await asyncio.sleep(RELOAD_EVERY_SECONDS)

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(ask(number))
        group.create_task(reload())
        try:
            yield found
        finally:
            over.set()


async def _counted(server: Server, name: str, label: str) -> float:
    return await asyncio.to_thread(server.counted, name, label)


async def _until(server: Server, outcome: str) -> None:
    """A promotion has come to this. Raises Ended, TimeoutError."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await _counted(server, "modelward_promotions_total", f'outcome="{outcome}"'):
            server.process.check()
            await asyncio.sleep(LOOK_SECONDS)


class Operator:
    """Of a server: promotes and rolls back by its admin API."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def promote(self, steps: Sequence[int], *, auto: bool = False) -> None:
        fields = {"version": NEW, "steps": steps, "auto": auto, "force": "a load test"}
        await asyncio.to_thread(self._call, "Promote", fields)

    async def rollback(self) -> None:
        await asyncio.to_thread(self._call, "Rollback", {})

    def _call(self, method: str, fields: dict[str, Any]) -> None:
        with grpc.insecure_channel(f"unix:{self._path}") as channel:
            answer: Any = Client(Address(path=str(self._path)), channel).call(
                method, TIMEOUT_SECONDS, model=MODEL, **fields
            )
        if answer.problems:
            raise RuntimeError(f"{method} is refused: {answer.problems}")


@contextmanager
def promoting(
    old: bytes, new: bytes, pace: Pace, bounds: Mapping[str, Any] | None = None, **settings: Any
) -> Iterator[tuple[Server, Operator]]:
    """A server of both versions, of which the first has everything. bounds: of promotions. settings: of the model."""
    with tempfile.TemporaryDirectory(prefix="modelward-promote-") as made:
        folder = Path(made)
        root = repository(folder / "models", {MODEL: {1: old, 2: new}})
        model = {
            "versions": {OLD: 1},
            "promotion": {"hold": f"{round(1000 * pace.hold)}ms", "min_requests": 100, "bounds": bounds or {}},
            **settings,
        }
        given = {"repository": str(root), "state": str(folder / "state"), "models": {MODEL: model}}
        with serving(folder, given, WORKERS, admin=f"unix:{folder}/admin.sock") as server:
            yield server, Operator(folder / "admin.sock")


# ---- the cases ------------------------------------------------------------------------------------------------------


async def by_itself(pace: Pace) -> list[Outcome]:
    """From step to step until a good version has everything; then it is rolled back by hand."""
    with promoting(add_one(), add_one(), pace, AUTO_BOUNDS) as (server, operator):
        async with traffic(server) as found:
            seen: list[Seen] = []
            following = asyncio.create_task(_follow(server, seen))
            began = time.monotonic()
            await operator.promote(pace.steps, auto=True)
            await _until(server, "done")
            following.cancel()
            asked, reloads = time.monotonic(), found.reloads
            await operator.rollback()
            told = time.monotonic()
            await asyncio.sleep(pace.after)
        steps = tuple(each.step(found) for each in seen if each.percent)
        to_done, of_back = found.between(began, asked), found.between(asked, time.monotonic())
        last = max(asked, *(each.ended for each in found.asked if each.version == NEW))
        late = sum(each.version == NEW for each in found.between(told, time.monotonic()))
    return [
        Outcome("promoted by itself", len(to_done), _failed(to_done), reloads, asked - began, steps=steps),
        Outcome(
            "rolled back by hand", len(of_back), _failed(of_back), found.reloads - reloads, last - asked, late=late
        ),
    ]


async def failing(pace: Pace, *, fallback: bool) -> Outcome:
    """It begins to fail at its first step."""
    settings: dict[str, Any] = {"fallback": FALLBACK} if fallback else {}
    with promoting(add_one(), add_one_below(LIMIT), pace, **settings) as (server, operator):
        async with traffic(server) as found:
            await operator.promote(FAIL_STEPS)
            await asyncio.sleep(pace.settled)
            found.value = 2.0 * LIMIT
            await _until(server, "rolled_back")
            await asyncio.sleep(pace.after)
            reason = await _reason(server)
    name, wanted = ("begins to fail, a fallback", "fallbacks") if fallback else ("begins to fail", "errors")
    hit = [each for each in found.asked if each.how != "OK"]
    return replace(_taken_back(name, found, hit, FAIL_STEPS[0]), wanted=wanted, reason=reason)


async def slow(pace: Pace) -> Outcome:
    """It is slow from its first request on."""
    # its numbers are others too
    with promoting(slow_loop(1), slow_loop(SLOW_ITERATIONS), pace, {"outputs": "off"}) as running:
        return replace(await _bad_from_its_first("is slow", running, SLOW_STEPS, pace), wanted="latency")


async def other(pace: Pace) -> Outcome:
    """A version that answers other numbers, as fast and as reliably as the one before."""
    with promoting(add_one(), identity(), pace) as running:
        return replace(await _bad_from_its_first("answers otherwise", running, FAIL_STEPS, pace), wanted="outputs")


async def _bad_from_its_first(name: str, running: tuple[Server, Operator], steps: Sequence[int], pace: Pace) -> Outcome:
    server, operator = running
    async with traffic(server) as found:
        await asyncio.sleep(pace.settled)
        await operator.promote(steps)
        await _until(server, "rolled_back")
        await asyncio.sleep(pace.after)
        reason = await _reason(server)
    hit = [each for each in found.asked if each.version == NEW]
    return replace(_taken_back(name, found, hit, steps[0]), reason=reason)


def _taken_back(name: str, found: Traffic, hit: list[Asked], percent: int) -> Outcome:
    first, last = min(each.began for each in hit), max(each.began for each in hit)
    return Outcome(
        name,
        len(found.asked),
        _failed(found.asked),
        found.reloads,
        last - first,
        percent,
        hit=len(hit),
        replaced=sum(each.how == REPLACED for each in hit),
        among=len(found.between(first, last)),
    )


def _failed(asked: Sequence[Asked]) -> int:
    """For their clients."""
    return sum(each.how not in ("OK", REPLACED) for each in asked)


async def _reason(server: Server) -> str:
    """The bound that the promotion was beyond."""
    for bound in ("errors", "fallbacks", "latency", "canary", "outputs"):
        if await _counted(server, "modelward_promotions_total", f'reason="{bound}"'):
            return bound
    return ""


@dataclass
class Seen:
    """When a share, by the metric, was seen for the first time and for the last."""

    percent: int
    first: float
    last: float

    def step(self, found: Traffic) -> Step:
        """Without its edges."""
        asked = found.between(self.first + EDGE_SECONDS, self.last - EDGE_SECONDS)
        return Step(self.percent, self.last - self.first, len(asked), sum(each.version == NEW for each in asked))


async def _follow(server: Server, seen: list[Seen]) -> None:
    while True:
        asked = time.monotonic()
        percent = round(100 * await _counted(server, "modelward_version_share", f'version="{NEW}"'))
        if not seen or seen[-1].percent != percent:
            seen.append(Seen(percent, time.monotonic(), time.monotonic()))
        else:
            seen[-1].last = asked
        await asyncio.sleep(LOOK_SECONDS)


# ---- the table ------------------------------------------------------------------------------------------------------


def bars(outcome: Outcome, steps: Sequence[int] = AUTO_STEPS) -> Iterator[Bar]:
    name = outcome.name
    if outcome.wanted != "errors":
        yield Bar(f"{name}: requests that failed", outcome.failed, 0, "")
    if outcome.steps:
        furthest = max(step.deviations for step in outcome.steps)
        yield Bar(f"{name}: steps", len(outcome.steps), len(steps), "", at_most=False)
        yield Bar(f"{name}: a share from its step's", furthest, SIGMAS, "standard deviations")
    elif not outcome.wanted:
        yield Bar(f"{name}: requests it got once that was done", outcome.late, 0, "")
    else:
        taken = outcome.reason == outcome.wanted
        yield Bar(f"{name}: rolled back for its {outcome.wanted}", taken, 1, "", at_most=False)
        within = OUTPUTS_SECONDS if outcome.wanted == "outputs" else ROLLBACK_SECONDS
        yield Bar(f"{name}{TO_ROLLBACK}", outcome.seconds, within, "s")
        yield Bar(f"{name}: share of requests that was hit", outcome.share, round(outcome.most, 1), "%")
    if outcome.wanted == "fallbacks":
        replaced = 100 * outcome.replaced / outcome.hit
        yield Bar(f"{name}: answered by it, of those that were hit", replaced, 100, "%", at_most=False)


async def measure(pace: Pace, said: Callable[[str], None]) -> list[Outcome]:
    said("promoted by itself, rolled back by hand")
    found = await by_itself(pace)
    for fallback in (False, True):
        said(f"a version that begins to fail, {'a fallback' if fallback else 'no fallback'}")
        found.append(await failing(pace, fallback=fallback))
    said("a version that is slow")
    found.append(await slow(pace))
    said("a version that answers otherwise")
    return [*found, await other(pace)]


def report(outcomes: Sequence[Outcome]) -> str:
    rows = [
        (o.name, f"{o.requests:,}", o.reloads, f"{o.failed:,}", f"{o.replaced:,}", f"{o.seconds:.3f}",
         f"{o.hit:,} of {o.among:,}" if o.hit else "", f"{o.share:.1f} of {o.percent}" if o.hit else "", o.reason)
        for o in outcomes
    ]  # fmt: skip
    columns = ("a version", "requests", "reloads", "failed", "replaced", "seconds", "hit", "share %", "taken back for")
    steps = [
        (f"{step.percent} %", f"{step.seconds:.1f}", f"{step.requests:,}", f"{step.answered:,}",
         f"{100 * step.answered / max(step.requests, 1):.2f}")
        for outcome in outcomes for step in outcome.steps
    ]  # fmt: skip
    return "\n\n".join([
        table(columns, rows),
        "Seconds: until it had everything; from the order to its last answer; from the first request that was hit to "
        "the last. Replaced: answered by the fallback.",
        "The steps of the one that was promoted by itself:",
        table(("step", "seconds", "requests", "answered by it", "share %"), steps),
        "\n".join(f"- {bar}" for outcome in outcomes for bar in bars(outcome)),
    ])  # fmt: skip


def main() -> int:
    """0 if every bar is reached."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.promote", description=__doc__)
    parser.add_argument("--hold", type=float, default=Pace.hold, help="seconds of a step (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    with Console(stderr=True).status("") as status:
        outcomes = asyncio.run(measure(Pace(arguments.hold), status.update))
    judged = [bar for outcome in outcomes for bar in bars(outcome)]
    facts, body = machine.facts(), report(outcomes)
    data = {**facts, "bars": {bar.name: bar.figure for bar in judged}}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.promote")
        results.write("promote", results.document("Versions promoted under load", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
