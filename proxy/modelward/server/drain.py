"""The end of a server that loses no request: clients are told to go elsewhere, and what is in flight is finished."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from modelward.server.accept import Acceptor
from modelward_native.request.server import Server

log = logging.getLogger("modelward.server")

POLL_SECONDS = 0.02
# A client's way to know that it should go elsewhere, and what it has sent before, take their time.
NOTICE_SECONDS = 0.5
GOODBYE_SECONDS = 1.0


async def drain(server: Server, acceptor: Acceptor | None, seconds: float) -> None:
    """acceptor: closed already; its handshakes are waited for. seconds: that what is in flight may take."""
    # those who watch health are told before the connection that tells them is
    await asyncio.sleep(POLL_SECONDS)
    server.warn()
    if server.listener.connections:
        await asyncio.sleep(NOTICE_SECONDS)
    server.drain()
    if not await _within(seconds, lambda: (acceptor is not None and acceptor.shaking_hands) or server.busy):
        log.warning("drain: requests were still under way after %.0f s", seconds)
    # a client closes when it has read everything; one that does not is not waited for
    await _within(GOODBYE_SECONDS, lambda: bool(server.listener.connections))


async def _within(seconds: float, lasts: Callable[[], bool]) -> bool:
    """Whether it has ended within `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while lasts():
                await asyncio.sleep(POLL_SECONDS)
    return not lasts()
