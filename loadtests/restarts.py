"""`python -m loadtests.restarts`: workers killed, restarted and reloaded under load, and whether anybody notices."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events

from loadtests.fuzz.frames import GOAWAY
from loadtests.tools import client, machine, models, results
from loadtests.tools.results import Bar, table
from loadtests.tools.server import Server, serving
from tests.models import repository

WORKERS = 2
CLIENTS = 8
KILLS, KILL_EVERY_SECONDS = 60, 1.0
RESTARTS, FRESH = 20, 10_000
RESTARTS_METRIC = "modelward_worker_restarts_total"
RETRIES = """{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.02s",
    "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""
PLAIN = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
RETRYING = [("grpc.use_local_subchannel_pool", 1), ("grpc.service_config", RETRIES)]

METHOD = f"""\
`modelward serve` with {WORKERS} workers and one small model. grpc.aio clients, each on a connection of its own, ask one
thing after the other; a failure is whatever their application would see. Fresh connections are sockets that send a
preface and one request at once and read its answer: anything but status 0 is a failure, also what a gRPC client would
mend by itself."""


@dataclass
class Outcome:
    """answered: requests. failed: what their clients saw. went_back: scrapes in which a counter was lower."""

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    went_back: int = 0

    @property
    def success_percent(self) -> float:
        return 100 * self.answered / max(self.answered + self.failed.total(), 1)


@contextmanager
def small(settings: dict[str, Any]) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        root = repository(Path(folder) / "models", {models.MLP: models.mlp()})
        with serving(Path(folder), {"repository": str(root), **settings}, WORKERS) as server:
            yield server


def message() -> bytes:
    return bytes(client.request(models.MLP, {"X": models.ordinary_row()}).SerializeToString())


# ---- load ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def load(
    port: int, outcome: Outcome, options: list[tuple[str, Any]], clients: int = CLIENTS
) -> AsyncIterator[None]:
    """Clients that ask one thing after the other, meanwhile."""
    over, body = asyncio.Event(), message()

    async def ask() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            call = channel.unary_unary(client.INFER)
            while not over.is_set():
                try:
                    await call(body, timeout=10.0)
                except grpc.aio.AioRpcError as error:
                    outcome.failed[error.code().name] += 1
                else:
                    outcome.answered += 1

    tasks = [asyncio.create_task(ask()) for _ in range(clients)]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*tasks)


def fresh_request() -> bytes:
    """Preface, SETTINGS and the first request of a connection: the same bytes for every one."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [
        (":method", "POST"), (":scheme", "http"), (":path", client.INFER), (":authority", "test"),
        ("te", "trailers"), ("content-type", "application/grpc"),
    ]  # fmt: skip
    connection.send_headers(1, headers)
    connection.send_data(1, client.framed(message()), end_stream=True)
    return connection.data_to_send()


async def frame_of(reader: asyncio.StreamReader) -> bytes:
    """The next whole frame, nothing at the end."""
    try:
        header = await reader.readexactly(9)
        return header + await reader.readexactly(int.from_bytes(header[:3], "big"))
    except asyncio.IncompleteReadError:
        return b""


async def fresh(port: int, sent: bytes, source: str = "127.0.0.1") -> str:
    """What becomes of one request on a connection of its own from this address: "OK", or how it failed."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "test")])
    stage = "refused"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        stage = "cut off"
        writer.write(sent)
        try:
            while data := await asyncio.wait_for(frame_of(reader), 10.0):
                if data[3] == GOAWAY:  # a draining server still answers what has come; h2 takes it for the end
                    continue
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
                        for name, value in event.headers:
                            if str(name) == "grpc-status":
                                return "OK" if str(value) == "0" else f"status {value!r}"
            return "closed"
        finally:
            writer.close()
    except (OSError, TimeoutError) as error:
        return f"{stage}: {type(error).__name__}"


# ---- what is done to the workers -------------------------------------------------------------------------------


async def killed(kills: int, said: Callable[[str], None]) -> Outcome:
    """A worker is killed every second, another one each time."""
    outcome, last = Outcome(), 0.0
    with small({}) as server:
        async with load(server.grpc, outcome, RETRYING):
            for i in range(kills):
                await asyncio.sleep(KILL_EVERY_SECONDS)
                workers = server.workers()
                if workers:
                    os.kill(workers[i % len(workers)], signal.SIGKILL)
                now = await asyncio.to_thread(server.counted, "modelward_requests_total")
                outcome.went_back += now < last
                last = now
                said(f"killed {i + 1} of {kills}")
    return outcome


async def restarted(restarts: int, connections: int, said: Callable[[str], None]) -> tuple[Outcome, Outcome]:
    """All workers are replaced again and again while old clients go on and new ones come."""
    old, new, sent = Outcome(), Outcome(), fresh_request()
    with small({"limits": {"connections": {"rate_per_peer": "100000/s"}}}) as server:
        done = 0

        async def restart() -> None:
            nonlocal done
            while done < restarts:
                os.kill(server.process.pid, signal.SIGUSR2)
                done += 1
                while await asyncio.to_thread(server.counted, RESTARTS_METRIC, 'reason="asked"') < done * WORKERS:
                    await asyncio.sleep(0.05)
                said(f"restarted {done} of {restarts}, {new.answered} fresh connections")

        async def come() -> None:
            while new.answered + new.failed.total() < connections or done < restarts:
                became = await fresh(server.grpc, sent)
                if became == "OK":
                    new.answered += 1
                else:
                    new.failed[became] += 1
                    said(f"a fresh connection: {became}")

        async with load(server.grpc, old, PLAIN, clients=4):
            await asyncio.gather(restart(), *(come() for _ in range(4)))
    return old, new


# ---- the table -----------------------------------------------------------------------------------------------


def main() -> int:
    """0 if no client noticed."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.restarts", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--restarts", type=int, default=RESTARTS)
    parser.add_argument(
        "--fresh", type=int, default=FRESH, help="connections that come meanwhile (default: %(default)s)"
    )
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()

    def said(text: str) -> None:
        print(text, file=sys.stderr)

    kills = asyncio.run(killed(arguments.kills, said))
    old, new = asyncio.run(restarted(arguments.restarts, arguments.fresh, said))
    rows = [
        ("a worker killed every second", arguments.kills, kills.answered, _told(kills), f"{kills.success_percent:.3f}"),
        ("rolling restarts, old clients", arguments.restarts, old.answered, _told(old), f"{old.success_percent:.3f}"),
        (
            "rolling restarts, fresh connections",
            arguments.restarts,
            new.answered,
            _told(new),
            f"{new.success_percent:.3f}",
        ),
    ]
    figures = table(("what", "times", "answered", "failed", "success %"), rows)
    bars = [
        Bar("success with retries while workers are killed", kills.success_percent, 99.9, "%", at_most=False),
        Bar("scrapes in which a counter went back", kills.went_back, 0, ""),
        Bar("requests that failed during rolling restarts", old.failed.total(), 0, ""),
        Bar("fresh connections that failed during rolling restarts", new.failed.total(), 0, ""),
    ]
    body = "\n\n".join([figures, "\n".join(f"- {bar}" for bar in bars)])
    print(body)
    if arguments.write:
        facts, command = machine.facts(), machine.command("loadtests.restarts")
        data = {**facts, "bars": {bar.name: bar.figure for bar in bars}}
        results.write("restarts", results.document("Workers that come and go", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars) else 1


def _told(outcome: Outcome) -> str:
    return ", ".join(f"{count} {what}" for what, count in outcome.failed.items()) or "none"


if __name__ == "__main__":
    sys.exit(main())
