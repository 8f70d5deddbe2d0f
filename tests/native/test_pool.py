"""Which endpoint a request goes to, among endpoints with connections to a server that says nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from native.deadline import Wheel
from native.h2 import Listener
from native.limit import Limiter
from native.pool import Endpoint, Pool
from native.upstream import BufferedUpstream

SECOND = 10**9


def with_two(examine: Callable[[Pool, Endpoint, Endpoint, int], None]) -> None:
    """Examines a pool of two connected endpoints, the first of which is the older; with the present time."""

    async def connected() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        wheel = Wheel(loop)
        listener = Listener(wheel, Limiter())
        endpoints = [Endpoint("first:1", "first:1"), Endpoint("second:1", "second:1")]
        protocols = []
        for endpoint in endpoints:
            _, protocol = await loop.create_connection(
                lambda endpoint=endpoint: BufferedUpstream(listener, endpoint), "127.0.0.1", port
            )
            protocols.append(protocol)
        examine(Pool(endpoints), *endpoints, time.monotonic_ns())
        for protocol in protocols:
            protocol.abort()
        server.close()
        wheel.close()

    asyncio.run(connected())


def test_an_endpoint_that_fails_its_checks_is_passed_over() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        assert pool.next(now) is first
        first.healthy = False
        assert pool.next(now) is second

    with_two(examine)


def test_when_all_fail_their_checks_all_are_used() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        first.healthy = second.healthy = False
        assert pool.next(now) is first

    with_two(examine)


def test_an_endpoint_that_has_come_back_starts_slowly() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        assert pool.next(now + 2 * SECOND) is first
        first.healthy = False
        first.healthy = True
        assert pool.next(now + 2 * SECOND) is second
        assert pool.next(now + 20 * SECOND) is first

    with_two(examine)


def test_endpoints_that_are_replaced_get_no_more_requests() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        pool.replace([second])
        assert pool.next(now) is second
        pool.replace([])
        assert pool.next(now) is None

    with_two(examine)
