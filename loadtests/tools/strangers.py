"""Callers not seen before, each once: they fill tables that go by address or credential.

    python -m loadtests.tools.strangers PORT KIND COUNT SECONDS MODEL

COUNT of them within SECONDS, evenly, or as fast as the server answers where that is slower. KIND says what is new
each time:

    peers        x-forwarded-for, of a request that is charged and then refused for its tensors
    keys         x-api-key, of the same request
    connections  the loopback address that a connection comes from, which ends without a word

Prints in how many seconds the server was through with them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from collections.abc import Callable
from typing import cast

import uvloop

from loadtests.fuzz.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    frame,
    literals,
    request_headers,
    settings,
)
from loadtests.tools import client

CONNECTIONS, AT_ONCE = 8, 100
MEETINGS = 64  # connections that are being opened at once
TICK = 0.005
HEAD = 9
FIRST_PEER = int(ipaddress.IPv4Address("10.0.0.0"))  # 16 million of them
FIRST_SOURCE = int(ipaddress.IPv4Address("127.1.0.0"))  # and 16 million, less one in 255


def forwarded(number: int) -> tuple[bytes, bytes]:
    return b"x-forwarded-for", str(ipaddress.IPv4Address(FIRST_PEER + number)).encode()


def unknown_key(number: int) -> tuple[bytes, bytes]:
    """Shaped like one of ours."""
    return b"x-api-key", b"mw_%043d" % number


class Requests(asyncio.Protocol):
    """One connection with at most AT_ONCE requests under way. under_way: how many there are."""

    def __init__(self, header: Callable[[int], tuple[bytes, bytes]], body: bytes) -> None:
        self._header = header
        self._usual = literals(request_headers(client.INFER.encode()))
        self._body = body
        self._received = bytearray()
        self._stream = 1
        self.under_way = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(PREFACE + settings())

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def send(self, first: int, count: int) -> int:
        """Sends requests of `count` strangers, or of as many as there is room for; returns how many."""
        if self.transport is None:
            raise ConnectionError("the server has closed a connection that sent requests")
        count = min(count, AT_ONCE - self.under_way)
        parts = []
        for number in range(first, first + count):
            block = self._usual + literals([self._header(number)])
            parts += [
                frame(HEADERS, self._stream, block, END_HEADERS),
                frame(DATA, self._stream, self._body, END_STREAM),
            ]
            self._stream += 2
        self.transport.write(b"".join(parts))
        self.under_way += count
        return count

    def data_received(self, data: bytes) -> None:
        received, at = self._received, 0
        received += data
        while len(received) - at >= HEAD:
            size, kind, flags = int.from_bytes(received[at : at + 3], "big"), received[at + 3], received[at + 4]
            if len(received) - at < HEAD + size:
                break
            if kind == GOAWAY:
                raise ConnectionError(f"GOAWAY {bytes(received[at + HEAD : at + HEAD + size])!r}")
            # a refusal; whether the stream is reset behind it, for the rest of its body, does not matter
            if kind == HEADERS and flags & END_STREAM:
                self.under_way -= 1
            at += HEAD + size
        del received[:at]


async def request(
    port: int, header: Callable[[int], tuple[bytes, bytes]], body: bytes, count: int, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Requests(header, body), "127.0.0.1", port))[1] for _ in range(CONNECTIONS)
    ]
    began, sent = loop.time(), 0
    while sent < count or any(one.under_way for one in opened):
        due = min(count, round((loop.time() - began) / seconds * count))
        for one in opened:
            sent += one.send(sent, due - sent)
        await asyncio.sleep(TICK)


async def connect(port: int, count: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    began, begun = loop.time(), 0

    async def come() -> None:
        nonlocal begun
        while begun < count:
            number, begun = begun, begun + 1
            await asyncio.sleep(max(0.0, began + number * seconds / count - loop.time()))
            source = str(ipaddress.IPv4Address(FIRST_SOURCE + number))
            transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port, local_addr=(source, 0))
            transport.close()

    await asyncio.gather(*(come() for _ in range(MEETINGS)))


async def come(port: int, kind: str, count: int, seconds: float, model: str) -> None:
    body, began = client.framed(client.request(model, {}).SerializeToString()), asyncio.get_running_loop().time()
    if kind == "connections":
        await connect(port, count, seconds)
    else:
        await request(port, {"peers": forwarded, "keys": unknown_key}[kind], body, count, seconds)
    print(asyncio.get_running_loop().time() - began)


if __name__ == "__main__":
    uvloop.run(come(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
