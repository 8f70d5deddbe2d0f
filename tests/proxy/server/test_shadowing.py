"""The shadows of a crew's models, judged from its region."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from native.region import Region
from native.shadows import Block
from proxy.config.schema import Config
from proxy.config.shadow import Shadow
from proxy.problem import ProblemsFound
from proxy.server.crew import Crew
from proxy.server.report import COLUMNS, Report
from proxy.server.shadowing import CrewShadows
from tests.proxy.shadow.test_collect import labels


def row(model: str, version: str) -> tuple[str, ...]:
    return (model, version, *("" for _ in COLUMNS[2:]))


@dataclass
class Workers:
    """One worker, which serves two versions of one model and one of another."""

    region: Region = field(default_factory=Region)
    report: Report | None = field(default_factory=lambda: Report((row("m", "1"), row("m", "2"), row("n", "1")), (), ()))


def shadows_of(workers: Workers | None, *configured: Shadow) -> CrewShadows:
    @dataclass
    class Settings:
        shadow: tuple[Shadow, ...]

    class Configured:
        def settings(self, name: str) -> Any:
            return Settings(configured if name == "m" else ())

    return CrewShadows(lambda: cast(Config, Configured()), lambda: cast(Crew | None, workers))


def test_every_shadow_of_a_model_is_told() -> None:
    workers = Workers()
    Block(workers.region, "m", "1", "2").add(labels(900, 100))
    Block(workers.region, "n", "1", "2").add(labels(1))
    (told,) = asyncio.run(shadows_of(workers, Shadow(version="2")).told("m"))
    assert (told["model"], told["primary"], told["shadow"], told["verdict"]) == ("m", "1", "2", "worse")


@pytest.mark.parametrize(("model", "what"), [("x", "no such model"), ("n", "it has no shadow")])
def test_what_there_is_not_is_told(model: str, what: str) -> None:
    with pytest.raises(ProblemsFound, match=what):
        asyncio.run(shadows_of(Workers(), Shadow(version="2")).told(model))


def test_before_there_are_workers_there_is_no_model() -> None:
    for workers in (None, Workers(report=None)):
        with pytest.raises(ProblemsFound, match="no such model"):
            asyncio.run(shadows_of(workers, Shadow(version="2")).told("m"))
