"""Endpoints that operators hold open or closed for one model, in a pool that models share."""

from __future__ import annotations

from modelward_native.backend.engine import Engine, Remote
from modelward_native.request.served import Served
from modelward_native.testing.pool import Endpoint, Pool
from tests.native.backend.test_pool import eject, with_two


def served(name: str, pool: Pool) -> Served:
    return Served(Engine(name, "1", Remote((), (), pool)))


def chosen(pool: Pool, model: Served, now: int) -> set[object]:
    return {pool.next(now, model) for _ in range(50)}


def test_requests_of_its_model_alone_are_kept_from_an_endpoint_that_is_held_open() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        m, other = served("m", pool), served("other", pool)
        assert chosen(pool, m, now) == {first}
        pool.override({"m": ([], [second])})
        assert chosen(pool, m, now) == {second}
        assert chosen(pool, other, now) == {first}
        assert pool.next(now) is first
        pool.override({})
        assert chosen(pool, m, now) == {first}

    with_two(examine)


def test_an_endpoint_that_is_held_open_gets_no_request_in_a_panic_either() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        m = served("m", pool)
        eject(first, now)
        eject(second, now)
        assert chosen(pool, m, now) == {first}, "all are used where all are out"
        pool.override({"m": ([], [second])})
        assert chosen(pool, m, now) == {second}
        assert pool.reaches("m")
        pool.override({"m": ([], [])})
        assert chosen(pool, m, now) == {None}
        assert (pool.reaches("m"), pool.reaches("other")) == (False, True)

    with_two(examine)


def test_an_endpoint_that_is_held_closed_is_used_whatever_its_breaker_and_its_checks_say() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        m, other = served("m", pool), served("other", pool)
        eject(first, now)
        assert chosen(pool, m, now) == {second}
        second.healthy = False
        assert pool.in_panic("m")
        pool.override({"m": ([first], [second])})
        assert chosen(pool, m, now) == {first}, "half of them are in service: the other is protected as before"
        assert (pool.in_panic("m"), pool.in_panic("other")) == (False, True)
        assert chosen(pool, other, now) <= {first, second}
        first.healthy = False
        assert chosen(pool, m, now) == {first}

    with_two(examine)


def test_an_endpoint_that_is_held_closed_is_not_used_without_its_canary_nor_beyond_its_requests_in_flight() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        m = served("m", pool)
        pool.override({"m": ([first], [second])})
        first.passes_canary = False
        assert chosen(pool, m, now) == {second}
        first.passes_canary = True
        second.healthy = False
        assert chosen(pool, m, now) == {first}
        for _ in range(1024):
            first.begin(now)
        assert chosen(pool, m, now) == {None}

    with_two(examine)


def test_the_breaker_of_an_endpoint_that_is_held_closed_goes_on_and_counts_again_afterwards() -> None:
    def examine(pool: Pool, first: Endpoint, second: Endpoint, now: int) -> None:
        m = served("m", pool)
        pool.override({"m": ([first], [])})
        eject(first, now)
        assert chosen(pool, m, now) == {first}
        pool.override({})
        assert chosen(pool, m, now) == {second}

    with_two(examine)
