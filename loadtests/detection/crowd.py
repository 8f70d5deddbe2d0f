"""Honest tenants in a process of their own: `python -m loadtests.detection.crowd PLAN`.

PLAN is a pickled Plan. Frames are written by hand, some 30 us a request, so that one process is thousands of tenants.
Prints a line of JSON, a Tally, every second; ends when all is sent, or when its stdin does.
"""

from __future__ import annotations

import asyncio
import functools
import json
import pickle
import struct
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import hpack
import numpy as np
import uvloop

from loadtests.detection.tables import Table
from loadtests.detection.tenants import BURSTY, Tenants
from loadtests.detection.victims import INPUT
from loadtests.fuzz.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    literals,
    request_headers,
    settings,
)  # fmt: skip
from loadtests.tools import client

CONNECTIONS, STREAMS = 8, 40
TICK = 0.005
BLOCK = 250  # rows of a tenant that are made at once
RUN = 50  # requests of a tenant in a row, where all are sent as fast as they are answered
BURST = 20  # requests of a bursty tenant in a row; it comes to its turn as much more rarely
HEADER_TABLE_SIZE = 1
MOST_WINDOW = 2**31 - 1
GRANT = 2**30
HEAD = 9
ANSWERED, REPLACED = "answered", "replaced by the fallback"


@dataclass(frozen=True)
class Stream:
    """The tenants of one model. keys: one for each tenant."""

    model: str
    table: Table
    keys: Sequence[str]
    seed: int


@dataclass(frozen=True)
class Plan:
    """requests: of each tenant; 0 for as many as come until the end. per_second: of each tenant; 0 for as many as are
    answered. drift: of tenants that drift, in all."""

    port: int
    streams: Sequence[Stream]
    requests: int = 0
    per_second: float = 0.0
    drift: float = 1.0


@dataclass
class Tally:
    """What became of requests, by model. tenants: what became of those that were not answered, by model and tenant."""

    sent: int = 0
    done: int = 0
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    tenants: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)


@functools.lru_cache(maxsize=4096)
def outcome(block: bytes) -> str:
    """Of a header block that ends a stream. Blocks stand for themselves: the server has no table."""
    fields = {str(name): str(value) for name, value in hpack.Decoder().decode(block)}
    if "grpc-status" not in fields:
        return ""
    if fields["grpc-status"] != "0":
        return f"status {fields['grpc-status']}: {fields.get('grpc-message', '')[:80]}"
    return REPLACED if "modelward-fallback" in fields else ANSWERED


class Sender:
    """The requests of one stream's tenants, in turn."""

    def __init__(self, stream: Stream, plan: Plan) -> None:
        self.model = stream.model
        self._plan = plan
        self._table = stream.table
        self._tenants = Tenants(stream.table, len(stream.keys), stream.seed, plan.drift)
        self._random = np.random.default_rng(stream.seed)
        self._sent = np.zeros(len(stream.keys), np.int64)
        self._rows: list[tuple[bytes, int]] = [(b"", 0)] * len(stream.keys)
        self._turns = self._in_turn()
        row = np.zeros((1, stream.table.features), np.float32)
        message = client.framed(client.request(stream.model, {INPUT: row}).SerializeToString())
        self._size = row.nbytes
        self._before = message[: -row.nbytes]  # the row comes last
        self._data = frame(DATA, 0, message, END_STREAM)[:5]
        self._headers = []
        for key in stream.keys:
            named = request_headers(client.INFER.encode(), [(b"x-api-key", key.encode())])
            whole = frame(HEADERS, 0, literals(named), END_HEADERS)
            self._headers.append((whole[:5], whole[HEAD:]))

    @property
    def left(self) -> float:
        """Requests that are not sent yet."""
        most = self._plan.requests
        return most * len(self._sent) - int(self._sent.sum()) if most else float("inf")

    def next(self, stream: int) -> tuple[int, bytes]:
        """Which tenant sends on this HTTP/2 stream, and what."""
        tenant = next(self._turns)
        self._sent[tenant] += 1
        rows, at = self._rows[tenant]
        if at == len(rows):
            rows, at = self._make(tenant), 0
        self._rows[tenant] = rows, at + self._size
        number = struct.pack(">I", stream)
        head, block = self._headers[tenant]
        parts = head, number, block, self._data, number, self._before, rows[at : at + self._size]
        return tenant, b"".join(parts)

    def _make(self, tenant: int) -> bytes:
        sent, most = int(self._sent[tenant]), self._plan.requests
        progress = min(1.0, sent / most) if most else 0.0
        return self._table.raw(self._tenants.rows(tenant, BLOCK, progress)).tobytes()

    def _in_turn(self) -> Iterator[int]:
        most = self._plan.requests
        while True:
            for tenant in self._random.permutation(len(self._headers)).tolist():
                run = RUN if not self._plan.per_second else 1
                if self._plan.per_second and self._tenants.kinds[tenant] == BURSTY:
                    run = BURST if self._random.random() * BURST < 1 else 0
                left = most - int(self._sent[tenant]) if most else run
                for _ in range(min(run, left)):
                    yield tenant


class Connection(asyncio.Protocol):
    """One connection with at most STREAMS requests under way."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._calls: dict[int, tuple[str, int]] = {}
        self._next = 1
        self._received = bytearray()
        self._unacknowledged = 0
        self._transport: asyncio.Transport | None = None

    @property
    def open(self) -> bool:
        return self._transport is not None

    @property
    def room(self) -> int:
        return STREAMS - len(self._calls) if self.open else 0

    @property
    def under_way(self) -> int:
        return len(self._calls)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        granted = frame(WINDOW_UPDATE, 0, struct.pack(">I", MOST_WINDOW - 65535))
        self._transport.write(PREFACE + settings({HEADER_TABLE_SIZE: 0}) + granted)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for stream in list(self._calls):
            self._end(stream, f"connection closed: {exc}")

    def send(self, sender: Sender, count: int) -> None:
        assert self._transport is not None
        parts = []
        for _ in range(count):
            tenant, request = sender.next(self._next)
            self._calls[self._next] = sender.model, tenant
            self._next += 2
            parts.append(request)
        self._tally.sent += count
        self._transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        received, at = self._received, 0
        received += data
        while len(received) - at >= HEAD:
            size = int.from_bytes(received[at : at + 3], "big")
            if len(received) - at < HEAD + size:
                break
            kind, flags, stream = struct.unpack_from(">BBI", received, at + 3)
            if kind == DATA:
                self._unacknowledged += size
            else:
                self._take(kind, flags, stream, bytes(received[at + HEAD : at + HEAD + size]))
            at += HEAD + size
        del received[:at]
        if self._unacknowledged > GRANT and self._transport is not None:
            self._transport.write(frame(WINDOW_UPDATE, 0, struct.pack(">I", self._unacknowledged)))
            self._unacknowledged = 0

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS and flags & END_STREAM:
            self._end(stream, outcome(payload))
        elif kind == RST_STREAM and stream in self._calls:
            self._end(stream, f"reset with {int.from_bytes(payload, 'big')}")
        elif kind == SETTINGS and not flags & ACK and self._transport is not None:
            self._transport.write(frame(SETTINGS, 0, flags=ACK))
        elif kind == PING and not flags & ACK and self._transport is not None:
            self._transport.write(frame(PING, 0, payload, ACK))
        elif kind == GOAWAY and self._transport is not None:
            self._transport.close()

    def _end(self, stream: int, how: str) -> None:
        model, tenant = self._calls.pop(stream)
        tally = self._tally
        tally.done += 1
        counted = tally.outcomes.setdefault(model, {})
        counted[how] = counted.get(how, 0) + 1
        if how != ANSWERED:
            own = tally.tenants.setdefault(model, {}).setdefault(str(tenant), {})
            own[how] = own.get(how, 0) + 1


async def _send(plan: Plan, senders: Sequence[Sender], opened: Sequence[Connection], ended: asyncio.Event) -> None:
    loop, tenants = asyncio.get_running_loop(), sum(len(stream.keys) for stream in plan.streams)
    began, begun = loop.time(), 0.0
    waiting = deque(senders)
    while waiting and not ended.is_set() and any(connection.open for connection in opened):
        due = (loop.time() - began) * plan.per_second * tenants - begun if plan.per_second else float("inf")
        begun += due if plan.per_second else 0
        most = min(due, CONNECTIONS * STREAMS)  # what a busy machine has kept us from is not made up for
        for connection in opened:
            if not waiting or most <= 0:
                break
            count = int(min(connection.room, most, RUN, waiting[0].left))
            if count:
                connection.send(waiting[0], count)
                most -= count
            waiting.rotate()
            if not waiting[-1].left:
                waiting.pop()
        await asyncio.sleep(TICK if plan.per_second else 0)
    while any(connection.under_way for connection in opened):
        await asyncio.sleep(TICK)


async def crowd(plan: Plan) -> None:
    loop, tally, ended = asyncio.get_running_loop(), Tally(), asyncio.Event()
    senders = [Sender(stream, plan) for stream in plan.streams]
    opened = [
        (await loop.create_connection(lambda: Connection(tally), "127.0.0.1", plan.port))[1] for _ in range(CONNECTIONS)
    ]
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    sending = asyncio.create_task(_send(plan, senders, opened, ended))
    while not sending.done():
        print(json.dumps(asdict(tally)), flush=True)
        await asyncio.wait([sending], timeout=1.0)
    await sending
    print(json.dumps(asdict(tally)), flush=True)


class Crowd:
    """The process. tally: what it told last. A context manager that ends it."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        file = folder / "crowd.plan"
        file.write_bytes(pickle.dumps(plan))
        command = [sys.executable, "-m", "loadtests.detection.crowd", str(file)]
        self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._popen.stdout is not None
        self.tally = Tally(**json.loads(self._popen.stdout.readline()))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.tally = Tally(**json.loads(line))

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait(self, seconds: float | None = None) -> None:
        """Until all is sent, or for so long."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        self._reader.join()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self.wait()


def counted(tally: Tally) -> Counter[str]:
    """Outcomes of all models together."""
    return sum((Counter(each) for each in tally.outcomes.values()), Counter())


if __name__ == "__main__":
    uvloop.run(crowd(pickle.loads(Path(sys.argv[1]).read_bytes())))
