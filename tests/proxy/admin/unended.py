"""Connections that hold places: each has one call whose request never ends, and comes back when it is closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loadtests.fuzz.frames import PREFACE, data, headers, message, request_headers, settings
from modelward.admin.server import MOST_CONNECTIONS
from modelward.admin.service import SERVICE
from modelward.config.address import Address

SOURCES = tuple(f"127.0.0.{number}" for number in range(1, 6))  # the first is the operator's own
OF_SOURCE = 16
REOPENED_SECONDS = 0.5
_OPENING = PREFACE + settings() + headers(1, request_headers(f"/{SERVICE}/Reload".encode()))
UNENDED = {
    "nothing of its message": _OPENING,
    "a part of its message": _OPENING + data(1, message(b"\x0a\x03")[:6]),
    "its message and no end": _OPENING + data(1, message(b"")),
}


@asynccontextmanager
async def crowd(address: Address, sent: bytes) -> AsyncIterator[None]:
    """Entered once as many have come as there are places."""
    come = asyncio.Semaphore(0)
    sources = ("",) if address.is_unix else SOURCES
    seats = [asyncio.ensure_future(_hold(address, source, sent, come)) for source in sources * OF_SOURCE]
    places = OF_SOURCE if address.is_unix else MOST_CONNECTIONS
    try:
        for _ in range(places):
            await come.acquire()
        yield
    finally:
        for seat in seats:
            seat.cancel()
        await asyncio.gather(*seats, return_exceptions=True)


async def _hold(address: Address, source: str, sent: bytes, come: asyncio.Semaphore) -> None:
    while True:
        with contextlib.suppress(OSError):  # closed, or refused: it comes again
            if address.is_unix:
                reader, writer = await asyncio.open_unix_connection(address.path)
            else:
                reader, writer = await asyncio.open_connection(address.host, address.port, local_addr=(source, 0))
            come.release()
            try:
                writer.write(sent)
                # the attack's own pace: half a second, whether it was closed before or not
                await asyncio.gather(asyncio.sleep(REOPENED_SECONDS), _until_closed(reader, REOPENED_SECONDS))
            finally:
                writer.transport.abort()


async def _until_closed(reader: asyncio.StreamReader, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while await reader.read(4096):
                pass
