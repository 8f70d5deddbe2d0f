"""`python -m loadtests.limits`: whether limits hold over workers, and whether strangers can move an honest caller's."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtests.restarts import fresh, fresh_request, message, small
from loadtests.tools import client, h2load, machine, models, results
from loadtests.tools.h2load import Shape
from loadtests.tools.results import Bar, table
from loadtests.tools.server import Server, api_key

RATE, BURST = 1000, 100
SECONDS = 10.0
STRANGE_SECONDS = 20.0
STRANGERS, SOURCES = 1_000_000, 20_000
AT_LIMIT, BELOW = 2000, 200  # requests offered per second by the one and the other honest caller
FRESH_RATE, FRESH_AT_LIMIT, FRESH_BELOW = 50, 100, 20  # connections per second, likewise
OFF_PERCENT = 2.0
ALONE = "no one else"
TRIES = 5  # connections that come at once may all go to one worker while the other does not get its turn


@dataclass(frozen=True)
class Lie:
    """clients: (shape, requests per second) of each. wanted: connections with each worker, fewest first."""

    clients: Sequence[tuple[Shape, int]]
    wanted: list[int]


SPREADS = {
    "all on one worker": Lie([(Shape(1, 64), 4000)], [0, 1]),
    "even": Lie([(Shape(8, 8), 4000)], [4, 4]),
    "nine requests in ten on one": Lie([(Shape(1, 64), 3600), (Shape(1, 64), 400)], [1, 1]),
}

METHOD = f"""\
`modelward serve` with two workers and one small model.

A limit of {RATE:,}/s for the whole server, {BURST} at once, is offered 4,000/s by h2load for {SECONDS:g} s over
connections that lie with the workers in different ways (counted in /proc). Admitted is what the server counts as
answered, less the burst, per second.

Then two honest callers, one who asks for {AT_LIMIT:,}/s and has {RATE:,}, and one who asks for {BELOW}: admitted is
what came back with the bytes of an answer. Meanwhile strangers come, each once: {STRANGERS:,} peers (told by a trusted
proxy; each has one request a minute, so that all of them owe at the same time), {STRANGERS:,} unknown API keys, or
connections from {SOURCES:,} addresses of the loopback network. Of the last, honest are two peers who open
{FRESH_AT_LIMIT} and {FRESH_BELOW} connections a second where {FRESH_RATE} are allowed; each asks one thing."""


@dataclass(frozen=True)
class Spread:
    """connections: with each worker. admitted: per second, beyond the burst."""

    name: str
    connections: list[int]
    admitted: float


@dataclass(frozen=True)
class Honest:
    """What two callers got beside strangers. at_limit: per second, beyond the burst. refused: of the one below."""

    strangers: str
    at_limit: float
    below: float
    refused: int
    per_second: float = 0.0  # strangers


# ---- one limit, several workers --------------------------------------------------------------------------------


def sockets(server: Server) -> list[int]:
    """That each worker holds."""
    held = []
    for pid in sorted(server.workers()):
        folder = f"/proc/{pid}/fd"
        held.append(sum(os.readlink(f"{folder}/{fd}").startswith("socket:") for fd in os.listdir(folder)))
    return held


def spread(name: str, seconds: float, tries: int = TRIES) -> Spread:
    """As wanted, if that can be had within `tries`. Raises LoadFailed, Ended, TimeoutError."""
    for _ in range(tries):
        found = _spread(name, seconds)
        if sorted(found.connections) == SPREADS[name].wanted:
            break
    return found


def _spread(name: str, seconds: float) -> Spread:
    loads = SPREADS[name].clients
    limit = {"limits": {"total": {"rate": f"{RATE}/s", "burst": BURST}}}
    with small(limit) as server, tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(loads)) as threads:
        body, before = _body(folder), sockets(server)
        offered = [
            threads.submit(h2load.offered, server.grpc, body, shape, (), per_second=rate, seconds=seconds)
            for shape, rate in loads
        ]
        server.wait_until_counted("modelward_connections", sum(shape.connections for shape, _ in loads))
        where = [now - then for now, then in zip(sockets(server), before, strict=True)]
        took = max(load.result().seconds for load in offered)
        passed = server.counted("modelward_requests_total", 'code="OK"')
    return Spread(name, where, (passed - BURST) / took)


def _body(folder: str) -> Path:
    body = Path(folder) / "body"
    body.write_bytes(client.framed(message()))
    return body


# ---- strangers -------------------------------------------------------------------------------------------------


def strange(server: Server, kind: str, count: int, seconds: float) -> float:
    """How many came per second."""
    command = [
        sys.executable,
        "-m",
        "loadtests.tools.strangers",
        str(server.grpc),
        kind,
        str(count),
        str(seconds),
        models.MLP,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise h2load.LoadFailed(f"strangers: {done.stderr}")
    return count / float(done.stdout)


def beside(kind: str, count: int, seconds: float, settings: dict[str, Any], headers: Sequence[str]) -> Honest:
    """What two callers get who are told apart by these headers. Raises LoadFailed, Ended."""
    with (
        small(settings) as server,
        tempfile.TemporaryDirectory() as folder,
        client.channel(server.grpc) as channel,
        ThreadPoolExecutor(3) as threads,
    ):
        body = _body(folder)
        name, _, value = headers[1].partition(": ")
        answer = len(client.framed(client.infer(channel, message(), metadata=[(name, value)])))
        coming = threads.submit(strange, server, kind, count, seconds) if count else None
        limited, easy = (
            threads.submit(h2load.offered, server.grpc, body, Shape(4, 32), [header], per_second=rate, seconds=seconds)
            for header, rate in zip(headers, (AT_LIMIT, BELOW), strict=True)
        )
        at_limit, below = limited.result(), easy.result()
        admitted = at_limit.data_bytes / answer
        return Honest(
            kind if count else ALONE,
            (admitted - BURST) / at_limit.seconds,
            below.data_bytes / answer / below.seconds,
            below.succeeded - below.data_bytes // answer,
            coming.result() if coming else 0.0,
        )


def peers(count: int, seconds: float) -> Honest:
    honest = {"192.0.2.0/24": {"rate": f"{RATE}/s", "burst": BURST}}
    settings = {
        "trusted_proxies": ["127.0.0.0/8"],
        "limits": {"peer": {"rate": "1/m", "burst": 1, "overrides": honest}},
    }
    return beside("peers", count, seconds, settings, ["x-forwarded-for: 192.0.2.1", "x-forwarded-for: 192.0.2.2"])


def keys(count: int, seconds: float) -> Honest:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys"
        headers = [f"x-api-key: {api_key(file, name)}" for name in ("anna", "boris")]
        settings = {
            "access": {"keys": str(file), "rules": [{"identity": "*", "models": ["*"]}]},
            "limits": {"identity": {"rate": f"{RATE}/s", "burst": BURST}},
        }
        return beside("keys", count, seconds, settings, headers)


async def _come(port: int, source: str, per_second: int, seconds: float) -> tuple[int, int]:
    """Connections from one address at an even rate: how many were answered meanwhile, and how many never were."""
    loop, sent = asyncio.get_running_loop(), fresh_request()
    began, tasks = loop.time(), []

    async def come() -> tuple[bool, bool]:
        answered = await fresh(port, sent, source) == "OK"
        return answered and loop.time() < began + seconds, not answered

    for i in range(round(per_second * seconds)):
        await asyncio.sleep(max(0.0, began + i / per_second - loop.time()))
        tasks.append(asyncio.create_task(come()))
    meanwhile, never = zip(*await asyncio.gather(*tasks), strict=True)
    return sum(meanwhile), sum(never)


def connections(count: int, seconds: float) -> Honest:
    with (
        small({"limits": {"connections": {"rate_per_peer": f"{FRESH_RATE}/s"}}}) as server,
        ThreadPoolExecutor(1) as threads,
    ):
        coming = threads.submit(strange, server, "connections", count, seconds) if count else None

        async def come() -> list[tuple[int, int]]:
            both = (("127.0.0.2", FRESH_AT_LIMIT), ("127.0.0.3", FRESH_BELOW))
            return await asyncio.gather(*(_come(server.grpc, source, rate, seconds) for source, rate in both))

        (admitted, _), (easy, refused) = asyncio.run(come())
        kind = "connections" if count else ALONE
        rate = coming.result() if coming else 0.0
    # a second's worth may come at once
    return Honest(kind, (admitted - FRESH_RATE) / seconds, easy / seconds, refused, rate)


# ---- the table -------------------------------------------------------------------------------------------------


def main() -> int:
    """0 if every limit holds, and strangers change no caller's admission."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.limits", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each spread (default: %(default)s)")
    parser.add_argument("--strangers", type=int, default=STRANGERS, help="peers, and keys (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    if not h2load.installed():
        print(f"no load: {h2load.ABSENT}", file=sys.stderr)
        return 2
    spreads, rows, bars = [], [], []
    with Console(stderr=True).status("") as status:
        for name in SPREADS:
            status.update(f"connections {name}")
            spreads.append(spread(name, arguments.seconds))
            off = 100 * abs(spreads[-1].admitted / RATE - 1)
            bars.append(Bar(f"off a limit of {RATE}/s, connections {name}", off, OFF_PERCENT, "%"))
        for what, count in ((peers, arguments.strangers), (keys, arguments.strangers), (connections, SOURCES)):
            status.update(f"{count:,} {what.__name__}")
            alone, crowded = (what(n, STRANGE_SECONDS) for n in (0, count))
            rows += [alone, crowded]
            change = 100 * abs(crowded.at_limit / alone.at_limit - 1)
            bars.append(
                Bar(f"change by {count:,} {what.__name__} for the caller at the limit", change, OFF_PERCENT, "%")
            )
            bars.append(Bar(f"refused beside {count:,} {what.__name__} of a caller below it", crowded.refused, 0, ""))
    body = "\n\n".join([
        table(
            ("connections", "with each worker", "admitted/s"),
            [(s.name, " and ".join(map(str, s.connections)), f"{s.admitted:,.1f}") for s in spreads],
        ),
        table(
            ("beside", "strangers/s", "at the limit, admitted/s", "below it, admitted/s", "refused"),
            [(h.strangers, f"{h.per_second:,.0f}", f"{h.at_limit:,.1f}", f"{h.below:,.1f}", h.refused) for h in rows],
        ),
        "\n".join(f"- {bar}" for bar in bars),
    ])  # fmt: skip
    facts = machine.facts()
    data = {
        **facts,
        "spreads": [asdict(s) for s in spreads],
        "honest": [asdict(h) for h in rows],
        "bars": {bar.name: bar.figure for bar in bars},
    }
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.limits")
        results.write(
            "limits", results.document("Limits over workers, and strangers", METHOD, facts, command, body), data
        )
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
