"""Which orders about breakers a supervisor obeys, and what holds then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from modelward.admin.operator import NotNow
from modelward.audit.recorder import NoTrail
from modelward.config.schema import Config
from modelward.problem import ProblemsFound
from modelward.server.report import Report
from modelward.supervisor.breaker_overrides import MOST, BreakerOverrides
from modelward.upstream.breaker_override import Action, BreakerOrder

UP, OTHER = "10.0.0.1:1", "10.0.0.2:1"
CONFIG = Config.model_validate({"upstreams": [UP], "models": {"m": {"upstreams": [UP, OTHER]}}})
CELLS = ("", "", "", "", "", "", "")


class Pool:
    """told: what workers were told last."""

    def __init__(self) -> None:
        facts: Any = {"here": {}}
        names = ("m", "shared", "here")
        self.report = Report(tuple((name, "1", *CELLS) for name in names), (), (), facts=facts)
        self.told: Any = ()
        self.draining = False

    async def override_breakers(self, breakers: Any) -> None:
        self.told = breakers


def talk(test: Callable[[BreakerOverrides, Pool, list[tuple[str, str, str]]], Awaitable[None]]) -> None:
    async def main() -> None:
        pool, events = Pool(), list[tuple[str, str, str]]()

        def at_work() -> Any:
            if pool.draining:
                raise NotNow("the server is draining")
            return pool

        note = lambda *event: events.append(event)  # noqa: E731
        await test(BreakerOverrides(at_work, lambda: CONFIG, NoTrail, note), pool, events)

    asyncio.run(main())


def order(action: Action, model: str = "m", endpoint: str = "", seconds: float = 60.0) -> BreakerOrder:
    return BreakerOrder(model, endpoint, action, seconds, "a test")


def states(overrides: BreakerOverrides) -> dict[str, str]:
    return {each.endpoint_words: each.state for each in overrides.of("m")}


def test_the_last_word_counts_and_what_is_said_of_all_replaces_what_was_said_of_single_ones() -> None:
    async def test(overrides: BreakerOverrides, pool: Pool, events: list[tuple[str, str, str]]) -> None:
        await overrides.obey(order("open", endpoint=UP), "ada")
        await overrides.obey(order("close", endpoint=UP), "ada")
        assert states(overrides) == {UP: "closed"}
        await overrides.obey(order("open"), "ada")
        assert states(overrides) == {"all": "open"}
        held = await overrides.obey(order("close", endpoint=OTHER), "bob")
        assert states(overrides) == {"all": "open", OTHER: "closed"}
        assert (held, pool.told) == (overrides.of("m"), overrides.of("m"))
        assert overrides.counted() == {("m", "all", "open"): 1, ("m", OTHER, "closed"): 1}
        assert events[-1] == ("breaker close", "bob", f"model m, upstream {OTHER}: a test")
        await overrides.obey(order("auto"))
        assert (states(overrides), pool.told) == ({}, ())

    talk(test)


@pytest.mark.parametrize(
    ("wrong", "what", "how"),
    [
        (order("open", "n"), "there is no such model", "modelward status"),
        (order("open", "here"), "it runs here, and has no upstreams", "modelward status"),
        (order("open", "shared", OTHER), "it has no such upstream", UP),
        (order("close", "m", "10.0.0.2:2"), "it has no such upstream", OTHER),
        (order("auto", "m"), "no override is set for it", "modelward breaker list"),
        (order("auto", "shared"), "no override is set for it", "modelward breaker list"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_and_changes_nothing(wrong: BreakerOrder, what: str, how: str) -> None:
    async def test(overrides: BreakerOverrides, pool: Pool, events: list[tuple[str, str, str]]) -> None:
        with pytest.raises(ProblemsFound) as refused:
            await overrides.obey(wrong)
        (problem,) = refused.value.problems
        assert (problem.what, how in problem.how) == (what, True), problem.how
        assert (pool.told, events) == ((), [])

    talk(test)


def test_overrides_are_bounded_in_number() -> None:
    async def test(overrides: BreakerOverrides, pool: Pool, events: list[tuple[str, str, str]]) -> None:
        pool.report = Report(tuple((f"m{i}", "1", *CELLS) for i in range(MOST + 1)), (), ())
        for i in range(MOST):
            await overrides.obey(order("open", f"m{i}"))
        await overrides.obey(order("close", "m0"))
        with pytest.raises(ProblemsFound, match=f"{MOST} breaker overrides are set"):
            await overrides.obey(order("open", f"m{MOST}"))
        assert len(overrides.overrides) == MOST

    talk(test)


def test_an_override_whose_time_is_over_while_the_server_drains_is_gone_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(overrides: BreakerOverrides, pool: Pool, events: list[tuple[str, str, str]]) -> None:
        await overrides.obey(order("open", seconds=0.01))
        pool.draining = True
        while overrides.overrides:
            await asyncio.sleep(0.005)
        assert pool.told != ()

    talk(test)
    assert not [record for record in caplog.records if record.exc_info]


def test_workers_are_told_when_the_time_is_over() -> None:
    async def test(overrides: BreakerOverrides, pool: Pool, events: list[tuple[str, str, str]]) -> None:
        await overrides.obey(order("open", seconds=0.01))
        assert pool.told != ()
        while pool.told != ():
            await asyncio.sleep(0.005)
        assert overrides.overrides == {}

    talk(test)
