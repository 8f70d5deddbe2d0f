"""A server of two versions, as far as promotions see one, and its clock."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import ParamSpec

from modelward.config.schema import Config
from modelward.drift.cause import Cause
from modelward.models.facts import Facts
from modelward.promotion.guard import Arm
from modelward.promotion.promoter import Promoter
from modelward.promotion.state import State
from modelward.promotion.store import Store
from tests.proxy.promotion.test_decide import answered
from tests.proxy.promotion.test_guard import arm

P = ParamSpec("P")


def on_a_loop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*arguments: P.args, **keywords: P.kwargs) -> None:
        asyncio.run(test(*arguments, **keywords))

    return run


class Served:
    """A server of two versions of m, as far as promotions see one; and its clock."""

    def __init__(self, **settings: object) -> None:
        self.config = Config.model_validate({"models": {"m": {"versions": {"2": 1}, **settings}}})
        self.held = {"2": Facts("two", profile=True, canary=True), "3": Facts("three", profile=True, canary=True)}
        self.counted = {"2": arm(10_000), "3": arm(0)}
        self.verdicts = {("m", "3"): "equivalent"}
        self.drifted: dict[tuple[str, str], Cause] = {}
        self.against: Mapping[str, int] = {}
        self.shared: dict[str, Mapping[str, int]] = {}
        self.now = 1000.0

    def models(self) -> tuple[str, ...]:
        return ("m",)

    def versions(self, model: str) -> tuple[str, ...]:
        return tuple(self.held) if model == "m" else ()

    def facts(self, model: str) -> Mapping[str, Facts]:
        return dict(self.held) if model == "m" else {}

    def arms(self, model: str) -> Mapping[str, Arm]:
        return dict(self.counted)

    def verdict(self, model: str, version: str, shares: Mapping[str, int]) -> str | None:
        self.against = dict(shares)
        return self.verdicts.get((model, version))

    def drift(self, model: str, version: str) -> Cause:
        return self.drifted.get((model, version), Cause.NONE)

    async def share(self, shares: Mapping[str, Mapping[str, int]]) -> None:
        self.shared = dict(shares)

    def answer(self, **more: Arm) -> None:
        for version, arm_ in more.items():
            self.counted[version.removeprefix("v")] += arm_

    def promoter(self, folder: Path) -> Promoter:
        promoter = Promoter(self, folder, lambda: self.now)
        promoter.load()
        promoter.resume()
        return promoter


def saved(folder: Path) -> State:
    return Store(folder).load()


def why(promoter: Promoter) -> str:
    event = promoter.known("m").event
    assert event is not None
    return event.why


def enough(served: Served, count: int = 16_000, mean: float = 0.0) -> None:
    """Both versions answer so much, and alike, that every bound of a step is decided."""
    served.answer(v2=answered(count), v3=answered(count, mean))
