"""Overrides of two servers of a fleet: what is said on one holds on the other, and ends there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import structs

from modelward.audit.record import Record
from modelward.audit.recorder import NoTrail
from modelward.config.rate_limit import Limit
from modelward.config.schema import Config
from modelward.fleet.record import Malformed
from modelward.limits.temporary import TemporaryLimit
from modelward.supervisor.breaker_overrides import BreakerOverrides
from modelward.supervisor.shared_overrides import SharedOverrides
from modelward.supervisor.temporary_limits import TemporaryLimits
from modelward.upstream.breaker_override import BreakerOrder
from tests.proxy.supervisor.test_breaker_overrides import CONFIG, UP, Pool

HOURLY = Limit.model_validate({"rate": "1/h", "burst": 1})


class Told(NoTrail):
    def __init__(self) -> None:
        self.verbs: list[tuple[str, object]] = []

    def note(self, record: Record) -> None:
        self.verbs.append((record.verb, record.after))


class LimitedPool(Pool):
    limits: Any = ()

    async def limit(self, limits: Any) -> None:
        self.limits = limits


class One:
    def __init__(self, config: Config = CONFIG, ahead: float = 0.0) -> None:
        """ahead: seconds that its clock shows too much."""
        self.pool: Any = LimitedPool()
        self.trail = Told()
        held = (lambda: self.pool, lambda: config, lambda: self.trail)
        self.limits, self.breakers = TemporaryLimits(*held), BreakerOverrides(*held, lambda *event: None)
        self.shared = SharedOverrides(self.limits, self.breakers, lambda: self.trail, lambda: time.time() + ahead)

    async def limit(self, name: str = "m", seconds: float = 600.0) -> None:
        await self.limits.set(TemporaryLimit("model", name, HOURLY, time.time() + seconds, "alice", "why"))


class Document:
    """What lies in the store."""

    data: bytes | None = None

    async def rounds(self, *servers: One) -> None:
        for each in servers:
            self.data = await each.shared.reconcile(self.data) or self.data


def talk(test: Callable[[One, One, Document], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(One(), One(), Document())

    asyncio.run(main())


def test_a_limit_that_is_set_on_one_server_holds_on_all_until_it_is_unset_on_any() -> None:
    async def test(one: One, other: One, store: Document) -> None:
        await one.limit()
        await store.rounds(one, other)
        assert other.limits.limits == one.limits.limits != {}
        assert other.pool.limits == (*other.limits.limits.values(),), "its workers are told"
        assert other.trail.verbs == [("override.followed", {"what": "set", "by": "alice"})]
        late = One()
        await store.rounds(late)
        assert late.limits.limits == one.limits.limits
        await other.limits.unset("model", "m")
        await store.rounds(one, other, late, one)
        assert one.limits.limits == late.limits.limits == {}
        assert one.pool.limits == ()
        await one.limit()
        await store.rounds(one, other)
        assert other.limits.limits == one.limits.limits != {}, "a later word counts"

    talk(test)


def test_a_breaker_that_is_held_open_on_one_server_is_on_all_that_have_the_upstream() -> None:
    async def test(one: One, other: One, store: Document) -> None:
        without = One(Config.model_validate({"upstreams": [UP]}))
        await one.breakers.obey(BreakerOrder("m", "10.0.0.2:1", "open", 600.0, "incident"), "bob")
        await store.rounds(one, other, without, one)
        assert other.breakers.overrides == one.breakers.overrides != {}
        assert other.pool.told == (*other.breakers.overrides.values(),)
        assert without.breakers.overrides == {}
        await other.breakers.obey(BreakerOrder("m", "", "auto"), "bob")
        await store.rounds(without, other, one)
        assert one.breakers.overrides == {}

    talk(test)


def test_what_was_said_while_the_store_was_gone_counts_from_when_it_was_said() -> None:
    async def test(one: One, other: One, store: Document) -> None:
        await one.limit()
        one.shared.look()
        await other.limit(seconds=1200.0)
        other.shared.look()
        await store.rounds(other, one, other)
        (here,), (there,) = one.limits.limits.values(), other.limits.limits.values()
        assert here == there
        assert here.until > time.time() + 1000, "the later one"

    talk(test)


def test_what_is_no_document_changes_nothing() -> None:
    async def test(one: One, other: One, store: Document) -> None:
        await one.limit()
        with pytest.raises(Malformed):
            await one.shared.reconcile(b"{")
        assert len(one.limits.limits) == 1

    talk(test)


def test_nothing_is_written_where_nothing_has_changed() -> None:
    async def test(one: One, other: One, store: Document) -> None:
        assert await one.shared.reconcile(None) is None
        await one.limit()
        await store.rounds(one)
        assert await one.shared.reconcile(store.data) is None
        assert await other.shared.reconcile(store.data) is None

    talk(test)


def test_a_limit_of_a_server_whose_clock_is_ahead_is_changed_and_ended_on_any_other() -> None:
    async def test(one: One, other: One, store: Document) -> None:
        ahead = One(ahead=3600.0)
        await ahead.limit(seconds=7200.0)
        await store.rounds(ahead, other)
        assert other.limits.limits
        await other.limit(seconds=9000.0)
        await store.rounds(other, ahead, one, other)
        (found,) = {each.limits.limits["model", "m"].until for each in (one, other, ahead)}
        assert found > time.time() + 8000
        await one.limits.unset("model", "m")
        await store.rounds(one, other, ahead, one)
        assert one.limits.limits == other.limits.limits == ahead.limits.limits == {}

    talk(test)


def test_an_override_from_the_future_is_not_obeyed_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def test(one: One, other: One, store: Document) -> None:
        ahead = One(ahead=1e6)
        await ahead.limit(seconds=1e6 + 600)
        await store.rounds(ahead, one)
        assert one.limits.limits == {}
        assert "see the clocks" in caplog.text
        await one.limit()
        await store.rounds(one, other)
        assert other.limits.limits == one.limits.limits != {}

    talk(test)


def test_more_words_than_the_document_takes_are_not_written_again_and_again() -> None:
    async def test(one: One, other: One, store: Document) -> None:
        for number in range(140):
            await one.limit(seconds=600.0 + number)
            one.shared.look()
            entry = one.shared._known.pop(("model", "m", ""))
            one.shared._known["model", f"m{number}", ""] = structs.replace(entry, name=f"m{number}", ended=True)
        await store.rounds(one)
        assert store.data is not None
        assert await one.shared.reconcile(store.data) is None
        assert await other.shared.reconcile(store.data) is None

    talk(test)
