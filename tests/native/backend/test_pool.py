"""Which endpoint a request goes to, among endpoints connected to a server that says no more than its settings."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable

from loadtests.fuzz.frames import settings
from modelward_native.backend.breaker import Policy
from modelward_native.backend.connection import BufferedUpstream
from modelward_native.limits.limit import Limiter
from modelward_native.testing.pool import Endpoint, Pool
from modelward_native.timer.deadline import Wheel
from modelward_native.wire.listener import Listener

SECOND = 10**9


def with_two(examine: Callable[[Pool, Endpoint, Endpoint, int], None]) -> None:
    """Examines a pool of two connected endpoints, the first of which is the older; with the present time."""

    async def connected() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda reader, writer: writer.write(settings()), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        wheel = Wheel(loop)
        listener = Listener(wheel, Limiter())
        endpoints = [Endpoint("first:1", "first:1"), Endpoint("second:1", "second:1")]
        protocols: list[BufferedUpstream] = []
        for endpoint in endpoints:
            _, protocol = await loop.create_connection(
                functools.partial(BufferedUpstream, listener, endpoint), "127.0.0.1", port
            )
            protocols.append(protocol)
            while not endpoint.connected:
                await asyncio.sleep(0.001)
        examine(Pool(endpoints), endpoints[0], endpoints[1], time.monotonic_ns())
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


def eject(endpoint: Endpoint, now: int) -> None:
    for _ in range(5):
        endpoint.end(endpoint.begin(now), False, now)
    assert endpoint.ejections == 1


def test_a_half_open_endpoint_is_sent_one_trial_at_a_time() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        eject(first, now)
        assert {pool.next(now) for _ in range(20)} == {second}
        now += 10 * SECOND
        assert pool.next(now) is first
        trial = first.begin(now)
        assert trial
        assert {pool.next(now) for _ in range(20)} == {second}
        first.end(trial, False, now)
        assert {pool.next(now + 19 * SECOND) for _ in range(20)} == {second}
        now += 20 * SECOND
        first.end(first.begin(now), True, now)
        assert first.usable

    with_two(examine)


def test_an_endpoint_has_no_more_in_flight_than_its_breaker_allows() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        for endpoint in (first, second):
            for _ in range(1024):
                endpoint.begin(now)
        assert pool.next(now) is None
        second.end(False, True, now)
        assert pool.next(now) is second

    with_two(examine)


def test_another_policy_counts_anew_in_its_own_window() -> None:
    endpoint = Endpoint("a", "a", Policy(failures=0, volume=4, window=SECOND))

    def fail(times: int, now: int) -> None:
        for _ in range(times):
            endpoint.end(endpoint.begin(now), False, now)

    fail(3, 1_000 * SECOND)
    endpoint.policy = Policy(failures=0, volume=4, window=100 * SECOND)
    fail(3, 1_000 * SECOND)
    fail(3, 1_200 * SECOND)
    assert endpoint.ejections == 0
    fail(1, 1_200 * SECOND)
    assert endpoint.ejections == 1


def test_when_all_are_ejected_none_is() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        eject(first, now)
        eject(second, now)
        assert {pool.next(now + i) for i in range(50)} <= {first, second}
        assert pool.next(now) is not None

    with_two(examine)


def served(endpoint: Endpoint, caller: int, now: int, *, good: bool, pool: Pool | None = None) -> None:
    trial = endpoint.begin(now)
    endpoint.end(trial, good, now, caller, pool)


def test_requests_of_one_caller_that_fail_while_others_are_served_eject_no_endpoint() -> None:
    endpoint = Endpoint("first:1", "first:1", Policy(failures=5, volume=10))
    for turn in range(200):
        now = 100 * SECOND + turn * SECOND // 10
        served(endpoint, 1, now, good=True)
        for _ in range(10):
            served(endpoint, 2, now, good=False)
    assert (endpoint.ejections, endpoint.failures) == (0, 2000)
    assert endpoint.state == "closed"


def test_an_endpoint_that_fails_for_two_of_three_callers_or_for_the_only_one_is_ejected() -> None:
    for callers in ((1,), (1, 2)):
        endpoint = Endpoint("first:1", "first:1", Policy(failures=5, volume=10))
        served(endpoint, 0, 90 * SECOND, good=True)  # long ago
        if len(callers) == 2:
            served(endpoint, 0, 100 * SECOND, good=True)
        for turn in range(20):
            for caller in callers:
                served(endpoint, caller, 100 * SECOND + turn, good=False)
        assert endpoint.ejections == 1


def test_a_caller_that_all_endpoints_fail_ejects_none_and_one_that_another_serves_ejects_those_that_fail_it() -> None:
    for callers in ((1,), (1, 2)):
        for sound in (False, True):
            endpoints = [Endpoint(f"{i}:1", f"{i}:1", Policy(failures=5, volume=10)) for i in range(3)]
            pool = Pool(endpoints)
            for turn in range(60):
                for caller in callers:
                    now = 100 * SECOND + turn
                    served(endpoints[turn % 3], caller, now, good=sound and turn % 3 == 2, pool=pool)
            assert [e.ejections for e in endpoints] == ([1, 1, 0] if sound else [0, 0, 0])


def test_no_caller_keeps_an_ejected_endpoint_out_by_failing_its_trials() -> None:
    endpoint = Endpoint("first:1", "first:1", Policy(failures=3, ejection=SECOND))
    now = 100 * SECOND
    served(endpoint, 1, now, good=True)
    for caller in (2, 3, 4, 2, 3, 4):
        served(endpoint, caller, now, good=False)
    assert endpoint.ejections == 1
    now += 2 * SECOND
    for _ in range(10):
        served(endpoint, 3, now, good=True) if endpoint.state == "closed" else served(endpoint, 2, now, good=False)
    served(endpoint, 1, now, good=True)
    assert endpoint.state != "open"


def test_a_pool_is_in_panic_while_fewer_than_half_of_its_endpoints_are_in_order() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        first.healthy = False
        assert not pool.in_panic("m"), "half of them are"
        second.healthy = False
        assert pool.in_panic("m")
        first.healthy = True
        assert not pool.in_panic("m")

    with_two(examine)
