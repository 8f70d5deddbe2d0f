"""Looks at a server for its audit trail: minutes are summed up, and a look that fails is counted and not the last."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelward.audit.record import Record
from modelward.audit.recorder import NoTrail
from modelward.models.facts import Facts
from modelward.server.canary_causes import CanaryCauses
from modelward.server.containment import Containment
from modelward.server.report import COLUMNS, Report
from modelward.supervisor import observer
from modelward.supervisor.observer import MINUTE_SECONDS, Observer
from modelward.telemetry.snapshot import CloseReasonSnapshot, Snapshot, TlsSnapshot, WorkersSnapshot
from modelward_native.region.region import Region


class Told(NoTrail):
    def __init__(self) -> None:
        self.records: list[Record] = []

    def note(self, record: Record) -> None:
        self.records.append(record)


class Pool:
    """The workers of a server, as far as an observer sees them."""

    def __init__(self) -> None:
        self.region = Region.shared(2)
        self.containment = Containment()
        self.unsealed: dict[Any, Any] = {}
        self.canary_causes = CanaryCauses()
        self.told = Snapshot()
        facts = {"add": {"1": Facts("f", profile=False, canary=False, digest="sha256:a")}}
        self.report: Report | None = Report((("add", "1", *[""] * (len(COLUMNS) - 2)),), (), (), facts=facts)

    def stats(self) -> Snapshot:
        return self.told


def observing(pool: Pool) -> tuple[Observer, Told]:
    told = Told()
    shadowing = cast(Any, SimpleNamespace(snapshots=dict))
    return Observer(told, cast(Any, pool), shadowing, lambda: None), told


def test_what_differs_from_the_look_before_is_told_once() -> None:
    pool = Pool()
    watching, told = observing(pool)
    watching.look(0.0)
    assert [record.verb for record in told.records] == ["version.loaded"]
    pool.told = Snapshot(workers=WorkersSnapshot(1, {"died": 1, "asked": 3}), tls=TlsSnapshot(0.0, failed_reloads=2))
    pool.report = None  # no worker is ready
    for now in (1.0, 2.0):
        watching.look(now)
    assert [record.verb for record in told.records[1:]] == ["worker.died", "certificate.rejected"]


def test_a_minute_is_summed_up_when_it_is_over() -> None:
    pool = Pool()
    watching, told = observing(pool)
    watching.look(0.0)
    began = watching._minute_at
    pool.told = Snapshot(close_reasons=CloseReasonSnapshot(closed={"resets": 5, "idle": 7}))
    watching.look(began + MINUTE_SECONDS - 1)
    assert len(told.records) == 1
    watching.look(began + MINUTE_SECONDS)
    assert [(record.verb, record.figures) for record in told.records[1:]] == [
        ("connections.closed", {"by_reason": {"resets": 5}, "by_peer": {"others": 5}})
    ]
    watching.look(began + 2 * MINUTE_SECONDS)
    assert len(told.records) == 2


def test_what_was_unsealed_since_the_last_look_is_told_at_the_end() -> None:
    pool = Pool()
    watching, told = observing(pool)
    watching.look(0.0)
    pool.report = None
    pool.unsealed = {("add", "1", 7): ("sha256:a", "age1key")}
    watching.end()
    assert [record.verb for record in told.records[1:]] == ["version.unsealed"]


def test_a_look_that_fails_is_counted_and_the_next_one_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    watching, told = observing(pool)
    monkeypatch.setattr(observer, "LOOK_SECONDS", 0)
    broken, pool.told = pool.told, cast(Any, None)

    async def watch() -> None:
        looks = asyncio.create_task(watching.watch())
        while watching.failures < 2:
            await asyncio.sleep(0)
        pool.told = broken
        while not told.records:
            await asyncio.sleep(0)
        looks.cancel()

    asyncio.run(asyncio.wait_for(watch(), 20))
    assert told.records[0].verb == "version.loaded"
