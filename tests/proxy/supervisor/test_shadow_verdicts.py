"""The shadows of a pool's models, judged from its region."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest

from modelward.admin.operator import NotNow
from modelward.config.model import ModelSettings
from modelward.config.schema import Config
from modelward.config.shadow import Bounds, Shadow
from modelward.fleet.evidence import decoded, encoded
from modelward.models.weights import Shares
from modelward.problem import ProblemsFound
from modelward.server.report import ANY, COLUMNS, Report
from modelward.shadow.pairs import Pairs
from modelward.supervisor.shadow_verdicts import JUDGED_AT_ONCE, Key, ShadowVerdicts
from modelward.supervisor.worker_pool import WorkerPool
from modelward_native.region.region import Region
from modelward_native.shadow.shadows import Block
from tests.proxy.shadow.test_collect import labels


def row(model: str, version: str) -> tuple[str, ...]:
    return (model, version, *("" for _ in COLUMNS[2:]))


@dataclass
class Workers:
    """One worker, which serves two versions of one model and one of another."""

    region: Region = field(default_factory=Region)
    shares: Shares = field(default_factory=dict)
    report: Report | None = field(default_factory=lambda: Report((row("m", "1"), row("m", "2"), row("n", "1")), (), ()))


def shadows_of(workers: Workers | None, *configured: Shadow) -> ShadowVerdicts:
    config = Config(models={"m": ModelSettings(shadow=configured)})
    return ShadowVerdicts(lambda: config, lambda: cast(WorkerPool | None, workers))


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


def test_a_model_of_servers_that_tell_no_version_has_shadows_too() -> None:
    workers = Workers(report=Report((row("m", ANY),), (), ()))
    Block(workers.region, "m", "", "127.0.0.1:9")
    (told,) = asyncio.run(shadows_of(workers, Shadow(upstreams=("127.0.0.1:9",))).told("m"))
    assert (told["primary"], told["verdict"]) == ("", "undecided")


def test_while_no_worker_is_ready_nothing_is_told() -> None:
    for workers in (None, Workers(report=None)):
        with pytest.raises(NotNow, match="no worker is ready"):
            asyncio.run(shadows_of(workers, Shadow(version="2")).told("m"))


# ---- the verdict that a promotion asks for

KEY = ("m", "1", "2")
SHADOWS = Shadow(version="1", bounds=Bounds(errors=None)), Shadow(version="2", bounds=Bounds(errors=None))


def test_a_version_is_judged_against_the_other_one_that_has_the_largest_share() -> None:
    workers = Workers(report=Report(tuple(row("m", version) for version in "123"), (), ()))
    Block(workers.region, "m", "1", "2").add(labels(5000))
    Block(workers.region, "m", "2", "1").add(labels(0, 5000))
    Block(workers.region, "m", "3", "2").add(labels(0, 5000))
    judged, mostly = shadows_of(workers, *SHADOWS), {"1": 9, "2": 1}
    assert (judged.verdict("m", "2", mostly), judged.verdict("m", "1", mostly)) == ("equivalent", "worse")
    assert judged.verdict("m", "2", {"2": 9, "3": 1}) == "worse", "against version 3"
    workers.report = Report((row("m", "2"),), (), ())
    assert judged.verdict("m", "2", mostly) is None, "there is no other"


def test_its_noise_floor_counts() -> None:
    workers = Workers()
    Block(workers.region, "m", "1", "2").add(labels(900, 100))
    assert shadows_of(workers, *SHADOWS).verdict("m", "2", {"1": 1}) == "worse"
    Block(workers.region, "m", "1", "1").add(labels(900, 100))
    assert shadows_of(workers, *SHADOWS).verdict("m", "2", {"1": 1}) == "undecided"


def test_what_is_no_shadow_has_no_verdict_and_one_without_figures_is_undecided() -> None:
    judged = shadows_of(Workers(), *SHADOWS)
    assert judged.verdict("m", "3", {"1": 1}) is None
    assert judged.verdict("n", "2", {"1": 1}) is None
    assert judged.verdict("m", "2", {"1": 1}) == "undecided"
    for workers in (None, Workers(report=None)):
        assert shadows_of(workers, *SHADOWS).verdict("m", "2", {"1": 1}) is None


# ---- with the pairs of other servers of a fleet


def counted(matching: int, differing: int = 0) -> tuple[ShadowVerdicts, Mapping[Key, Pairs]]:
    """A server, and what it counted as others read it."""
    workers = Workers()
    Block(workers.region, "m", "1", "2").add(labels(matching, differing), part=3)
    judged = shadows_of(workers, *SHADOWS)
    return judged, decoded(encoded({}, judged.pairs(9))).shadows


def test_pairs_of_other_servers_count_as_though_they_were_of_this_one() -> None:
    alone, told = counted(20)
    assert alone.verdict("m", "2", {"1": 1}) == "undecided"
    others = [told[KEY]] * 250
    alone.others = lambda key, files: others if (key, files) == (KEY, " ") else ()
    assert alone.verdict("m", "2", {"1": 1}) == counted(251 * 20)[0].verdict("m", "2", {"1": 1}) == "equivalent"
    bad = counted(0, 5000)[1][KEY]
    alone.others = lambda key, files: [bad]
    assert alone.verdict("m", "2", {"1": 1}) == "worse"


def test_of_pairs_that_are_added_up_the_floor_and_the_callers_are_too() -> None:
    workers = Workers()
    for part in (3, 5):
        Block(workers.region, "m", "1", "2").add(labels(900, 100), part=part)
    Block(workers.region, "m", "1", "1").add(labels(900, 100))
    pairs = shadows_of(workers, *SHADOWS).pairs(9)[KEY]
    told = decoded(encoded({}, {KEY: pairs})).shadows[KEY]
    assert told == pairs
    assert pairs.floor is not None and pairs.callers.keys() == {3, 5}
    both = pairs + told
    assert both.total["compared"] == 2 * pairs.total["compared"] == 4000
    assert both.total["latency_primary"] == [2 * each for each in pairs.total["latency_primary"]]
    assert both.floor is not None and both.floor["disagreement"] == 2 * pairs.floor["disagreement"]
    assert {part: sums["compared"] for part, sums in both.callers.items()} == {3: 2000, 5: 2000}


# ---- verdicts as metrics


def test_a_scrape_judges_a_few_shadows_and_those_first_that_were_judged_longest_ago() -> None:
    names = [str(10 + i) for i in range(2 * JUDGED_AT_ONCE - 1)]
    workers = Workers()
    blocks = [Block(workers.region, "m", "1", name) for name in names]
    judged = shadows_of(workers, *(Shadow(version=name, bounds=Bounds(errors=None)) for name in names))
    assert [len(judged.snapshots()) for _ in range(4)] == [JUDGED_AT_ONCE, *3 * [len(names)]]
    for block in blocks:
        block.add(labels(0, 1000))
    worse = [sum(each.verdict["worse"] for each in judged.snapshots().values()) for _ in range(2)]
    assert worse == [JUDGED_AT_ONCE, len(names)]


def test_a_verdict_is_one_of_all_and_goes_with_its_shadow() -> None:
    workers = Workers()
    block = Block(workers.region, "m", "1", "2")
    Block(workers.region, "m", "1", "not-configured")
    judged = shadows_of(workers, *SHADOWS)
    (told,) = judged.snapshots().values()
    assert told.verdict == {"better": 0, "equivalent": 0, "worse": 0, "undecided": 1}
    block.leave()
    assert judged.snapshots() == {}
    assert shadows_of(None, *SHADOWS).snapshots() == {}
