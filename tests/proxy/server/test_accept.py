"""Connections are left to a process that has fewer, but never kept waiting for one that does not come for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time

from modelward.server.accept import Acceptor
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.timer.deadline import Wheel
from modelward_native.wire.listener import Listener

CONNECTIONS = 200
WAIT_SECONDS = 30.0


class Counting(Acceptor):
    pauses = 0

    def _pause(self, seconds: float) -> None:
        self.pauses += 1
        super()._pause(seconds)


async def pauses_of_a_long_queue() -> int:
    region = Region.shared(2)
    region.open(1)
    idle = Region.joined(os.dup(region.fd), 1)
    idle.accept(True)  # and takes none
    own = Region.joined(os.dup(region.fd), 0)
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop, time.monotonic_ns)
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        acceptor = Counting(Listener(wheel, Limiter(64), own), bound, own)
        acceptor.start(CONNECTIONS)
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(bound.getsockname()))
        async with asyncio.timeout(WAIT_SECONDS):
            while own.gauges()[2] < CONNECTIONS:
                await asyncio.sleep(0)
        acceptor.close()
    async with asyncio.timeout(WAIT_SECONDS):
        while own.gauges()[2]:
            await asyncio.sleep(0)
    wheel.close()
    return acceptor.pauses


def test_a_long_queue_is_taken_although_another_process_has_fewer_connections() -> None:
    assert 0 < asyncio.run(pauses_of_a_long_queue()) < 20
