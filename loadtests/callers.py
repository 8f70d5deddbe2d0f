"""Clients of whom half give up, at moments drawn at random; frames by hand, so that one process is many clients.

    python -m loadtests.callers PORT CALLS_PER_SECOND SEED

Prints a line of JSON, what has become of all calls so far, every second; ends when its stdin does, with the last line.
"""

from __future__ import annotations

import asyncio
import functools
import json
import random
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import grpc
import hpack
import uvloop

from loadtests import traffic
from loadtests.fuzz.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    settings,
)  # fmt: skip
from loadtests.tools import client

CONNECTIONS = 48
SOURCES = 200  # addresses: a server takes 500 resets a second from each at most
STREAMS = 32  # of one connection at once
FEWEST_CALLS, MOST_CALLS = 100, 1000  # of one connection before it makes room for the next
LONGEST_PAUSE = 0.03  # seconds, until a client gives up: most do after much less
TICK = 0.002
WAIT_SECONDS = 60.0
HEADER_TABLE_SIZE = 1
WINDOW = 16384  # of a stream: a large answer stands still until more is granted
CANCEL = 8
HEAD = 9

BEFORE, WITHIN, AT_ONCE, LATER, ANSWERED, CUT = (
    "before the body", "within the body", "with the last byte", "later", "as the answer comes", "with its connection",
)  # fmt: skip
MOMENTS = (BEFORE, WITHIN, AT_ONCE, LATER, LATER, ANSWERED)


@dataclass
class Tally:
    """ended: calls by kind, as they should be. given_up: by moment. wrong: answers that no call asked for."""

    ended: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    connections: int = 0

    @property
    def calls(self) -> int:
        return self.ended.total() + self.given_up.total() + self.wrong.total()


@functools.lru_cache
def fields(block: bytes) -> dict[str, str]:
    """Header blocks stand for themselves, since we allow the server no table."""
    return {str(name): str(value) for name, value in hpack.Decoder().decode(block)}


class Call:
    """moment: when its client gives up; None: never. data: bytes of its answer so far."""

    __slots__ = ("data", "kind", "moment")

    def __init__(self, kind: traffic.Kind, moment: str | None) -> None:
        self.kind = kind
        self.moment = moment
        self.data = 0


class Connection(asyncio.Protocol):
    """One connection, from when it is made until it has had its calls."""

    def __init__(self, callers: Callers) -> None:
        self.callers = callers
        self.tally = callers.tally
        self.calls: dict[int, Call] = {}
        self.left = random.randint(FEWEST_CALLS, MOST_CALLS)
        self._next = 1
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    @property
    def free(self) -> bool:
        return self._transport is not None and self.left > 0 and len(self.calls) < STREAMS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.tally.connections += 1
        self._write(PREFACE + settings({HEADER_TABLE_SIZE: 0, INITIAL_WINDOW_SIZE: WINDOW}))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self.tally.wrong[f"the server closed: {exc}"] += 1 + len(self.calls)
        self._gone()

    def begin(self, kind: traffic.Kind, moment: str | None) -> None:
        stream, self._next, self.left = self._next, self._next + 2, self.left - 1
        self.calls[stream] = Call(kind, moment)
        parts = [frame(HEADERS, stream, kind.block, END_HEADERS)]
        if moment == WITHIN:
            parts.append(frame(DATA, stream, kind.body[: random.randrange(len(kind.body))]))
        elif moment != BEFORE:
            parts.append(frame(DATA, stream, kind.body, END_STREAM))
        self._write(b"".join(parts))
        if moment == AT_ONCE or (moment == BEFORE and random.random() < 0.5):
            self.give_up(stream)
        elif moment in (BEFORE, WITHIN, LATER):
            self._soon(self.give_up, stream)
        if self.left == 0 and random.random() < 0.5:
            self._soon(self.leave)

    def give_up(self, stream: int) -> None:
        if (call := self.calls.pop(stream, None)) is not None:
            self._write(frame(RST_STREAM, stream, struct.pack(">I", CANCEL)))
            self.tally.given_up[str(call.moment)] += 1
            self._leave_if_done()

    def data_received(self, data: bytes) -> None:
        received, at = self._received, 0
        received += data
        while len(received) - at >= HEAD:
            size = int.from_bytes(received[at : at + 3], "big")
            if len(received) - at < HEAD + size:
                break
            kind, flags, stream = struct.unpack_from(">BBI", received, at + 3)
            self._take(kind, flags, stream, bytes(received[at + HEAD : at + HEAD + size]))
            at += HEAD + size
        del received[:at]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        call = self.calls.get(stream)
        if kind == DATA and payload:
            granted = struct.pack(">I", len(payload))
            self._write(frame(WINDOW_UPDATE, 0, granted))
            if call is not None:
                call.data += len(payload)
                if call.data > WINDOW // 2 and call.moment != ANSWERED:
                    self._write(frame(WINDOW_UPDATE, stream, granted))
        elif kind == SETTINGS and not flags & ACK:
            self._write(frame(SETTINGS, 0, flags=ACK))
        elif kind == PING and not flags & ACK:
            self._write(frame(PING, 0, payload, ACK))
        elif kind == GOAWAY:
            self.tally.wrong[f"GOAWAY {payload[4:]!r}"] += 1
        if call is None:
            return
        if kind == RST_STREAM:
            self._end(stream, f"reset with {int.from_bytes(payload, 'big')}")
        elif kind == HEADERS and flags & END_STREAM:
            self._end(stream, fields(payload).get("grpc-status", "none"))
        elif call.moment == ANSWERED and (kind == DATA or random.random() < 0.5):
            self.give_up(stream)

    def _end(self, stream: int, status: str) -> None:
        call = self.calls.pop(stream)
        name, expected = call.kind.name, str(grpc.StatusCode[call.kind.status].value[0])
        if status != expected:
            self.tally.wrong[f"{name}: status {status}"] += 1
        elif call.data != self.callers.sizes.get(name, call.data):
            self.tally.wrong[f"{name}: an answer of {call.data} bytes"] += 1
        else:
            self.tally.ended[name] += 1
        self._leave_if_done()

    def _soon(self, what: Callable[..., None], *arguments: int) -> None:
        self.callers.loop.call_later(LONGEST_PAUSE * random.random() ** 4, what, *arguments)

    def _leave_if_done(self) -> None:
        if self.left == 0 and not self.calls:
            self.leave()

    def leave(self) -> None:
        if self._transport is not None:
            self.tally.given_up[CUT] += len(self.calls)
            transport, self._transport = self._transport, None
            transport.abort() if self.calls else transport.close()
            self.calls.clear()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _gone(self) -> None:
        self._transport = None
        self.calls.clear()
        self.callers.open.discard(self)


class Callers:
    """All connections of this process, and who calls next."""

    def __init__(self, port: int, sizes: dict[str, int]) -> None:
        self.port = port
        self.sizes = sizes
        self.loop = asyncio.get_running_loop()
        self.tally = Tally()
        self.open: set[Connection] = set()
        self._kinds = traffic.kinds()
        self._shares = [kind.share for kind in self._kinds]

    async def connect(self) -> None:
        connection = Connection(self)
        self.open.add(connection)
        source = (f"127.0.1.{random.randint(1, SOURCES)}", 0)
        try:
            await self.loop.create_connection(lambda: connection, "127.0.0.1", self.port, local_addr=source)
        except OSError as error:
            self.open.discard(connection)
            self.tally.wrong[f"no connection: {error}"] += 1

    def call(self, count: int) -> None:
        """Begins `count` calls on as few connections as have room, so that one read event brings many calls."""
        free = [connection for connection in self.open if connection.free]
        random.shuffle(free)
        for kind in random.choices(self._kinds, self._shares, k=count):
            while free and not free[-1].free:
                free.pop()
            if not free:
                return
            behind = self.tally.given_up.total() * 2 < self.tally.calls
            moment = random.choice(MOMENTS) if random.random() < (0.9 if behind else 0.2) else None
            free[-1].begin(kind, moment)

    async def run(self, per_second: float, over: asyncio.Event) -> None:
        began, begun = self.loop.time(), 0.0
        while not over.is_set():
            while sum(connection.left > 0 for connection in self.open) < CONNECTIONS:
                await self.connect()
            due = (self.loop.time() - began) * per_second - begun
            # what a busy machine has kept us from is not made up for
            self.call(round(min(due, 10 * TICK * per_second)))
            begun += due
            await asyncio.sleep(TICK)
        deadline = self.loop.time() + WAIT_SECONDS
        while any(connection.calls for connection in self.open) and self.loop.time() < deadline:
            await asyncio.sleep(TICK)
        self.tally.wrong["never answered"] += sum(len(connection.calls) for connection in self.open)
        for connection in list(self.open):
            connection.leave()


def report(tally: Tally) -> None:
    print(json.dumps(vars(tally)), flush=True)


async def main(port: int, per_second: float, seed: int) -> None:
    random.seed(seed)
    with client.channel(port) as channel:
        sizes = {kind.name: size for kind in traffic.kinds() if (size := traffic.check(channel, kind)) is not None}
    callers, over, loop = Callers(port, sizes), asyncio.Event(), asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    ended.add_done_callback(lambda _: over.set())
    running = asyncio.create_task(callers.run(per_second, over))
    while not running.done():
        report(callers.tally)
        await asyncio.wait([running], timeout=1.0)
    await running
    report(callers.tally)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
