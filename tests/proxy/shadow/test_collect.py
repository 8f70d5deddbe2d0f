"""Reports of a model's shadows, from the figures of all workers and the configured bounds."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from modelward.config.shadow import Bounds, Shadow
from modelward.shadow.collect import reports
from modelward.shadow.finding import Verdict
from modelward.shadow.report import Report
from modelward.shadow.verdict import verdict_of
from modelward_native.region.region import Region
from modelward_native.shadow import shadows
from modelward_native.shadow.shadows import Block
from modelward_native.shadow.stats import Stats
from modelward_native.testing import scan


def label(value: int) -> bytes:
    return scan.reply("m", outputs=[("y", "INT64", [1], struct.pack("<q", value))])


def labels(agreeing: int, disagreeing: int = 0) -> Stats:
    figures = Stats()
    for i in range(agreeing + disagreeing):
        figures.record(label(0), label(int(i < disagreeing)))
    return figures


def collected(region: Region, *configured: Shadow) -> list[Report]:
    return reports(shadows.shadows(region, "m"), configured, "1")


def slices(report: Report) -> Sequence[tuple[str, str, str, str, int, float | None]]:
    return [(each.kind, each.name, each.by, str(each.verdict), each.pairs, each.disagreement) for each in report.slices]


def test_a_shadow_is_judged_by_its_own_bounds() -> None:
    region = Region()
    Block(region, "m", "1", "2").add(labels(900, 100))
    (strict,) = collected(region, Shadow(version="2"))
    (lax,) = collected(region, Shadow(version="2", bounds=Bounds(disagreement=0.5, errors=None)))
    assert (strict.judgement.verdict, lax.judgement.verdict) == (Verdict.WORSE, Verdict.EQUIVALENT)
    assert (strict.model, strict.primary, strict.shadow, strict.judgement.pairs) == ("m", "1", "2", 1000)


def test_what_the_primary_disagrees_with_itself_is_the_floor() -> None:
    region, configured = Region(), (Shadow(version="2"), Shadow(version="1"))
    other = Block(region, "m", "1", "2")
    other.add(labels(4500, 500))
    assert collected(region, *configured)[0].judgement.verdict is Verdict.WORSE
    Block(region, "m", "1", "1").add(labels(4500, 500))
    judged, itself = collected(region, *configured)
    assert judged.judgement.verdict is not Verdict.WORSE
    assert [finding.name for finding in itself.judgement.findings] == ["errors"]
    (of_another_primary,) = collected(region, Shadow(version="1"))
    assert of_another_primary.shadow == "1"


def test_slices_are_judged_each_by_itself_with_the_noise_of_their_side() -> None:
    region = Region()
    block, itself = Block(region, "m", "1", "2"), Block(region, "m", "1", "1")
    block.add(labels(3000), identity="ann")
    block.add(labels(0, 1000), anomalous=True, identity="bob")
    block.add(labels(500), identity="bob", kind="token")
    itself.add(labels(3500))
    itself.add(labels(0, 1000), anomalous=True)
    block.warm(7)
    report = collected(region, Shadow(version="2", bounds=Bounds(errors=None)))[0]
    assert slices(report) == [
        ("normal", "", "", "equivalent", 3500, 0.0),
        ("anomalous", "", "", "equivalent", 1000, 1.0),
        ("identity", "ann", "key", "equivalent", 3000, 0.0),
        ("identity", "bob", "key", "worse", 1000, 1.0),
        ("identity", "bob", "token", "equivalent", 500, 0.0),
        ("others", "", "", "undecided", 0, None),
    ]
    assert report.warmed == 7


def test_reports_come_as_configured_and_of_the_answering_version_first() -> None:
    region = Region()
    for primary in ("0", "1", "2", "3"):
        for name in ("127.0.0.1:9", "3", "gone"):
            block = Block(region, "m", primary, name)
            if primary == "0":
                block.add(labels(1))
            if primary == "2" and name == "3":
                block.warm()
    found = collected(region, Shadow(version="3"), Shadow(upstreams=("127.0.0.1:9",)), Shadow(version="new"))
    assert [(each.primary, each.shadow) for each in found] == [
        ("1", "3"), ("1", "127.0.0.1:9"), ("0", "3"), ("0", "127.0.0.1:9"), ("2", "3"),
    ]  # fmt: skip


@pytest.mark.parametrize("disagreeing", [0, 3, 100])
def test_the_verdict_alone_is_that_of_the_report(disagreeing: int) -> None:
    region, bounds = Region(), Bounds()
    Block(region, "m", "1", "2").add(labels(1000 - disagreeing, disagreeing))
    (report,) = collected(region, Shadow(version="2", bounds=bounds))
    (total,) = shadows.totals(region).values()
    assert report.judgement.verdict is verdict_of(total.sums(), bounds)
