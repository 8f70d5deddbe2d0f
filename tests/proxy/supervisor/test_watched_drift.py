"""An operator takes the present as what is usual."""

import asyncio

import pytest

from modelward.problem import ProblemsFound
from modelward.supervisor.watched_drift import WatchedDrift
from tests.proxy.drift.test_monitor import Traffic


class Watched:
    """Of a supervisor: what Observing does, without a server."""

    def __init__(self, traffic):
        self.monitor = traffic.monitor

    def drift_alarms(self, model, version):
        return self.monitor.alarms(model, version or None)

    def accept_drift(self, model, version):
        return self.monitor.accept(model, version or None)


@pytest.fixture
def moved():
    traffic = Traffic()
    traffic.send(30)
    traffic.send(6, moved=1.5)
    return traffic


def drift_of(traffic, notes):
    return WatchedDrift(Watched(traffic), lambda: None, lambda *told: notes.append(told))


def test_it_is_noted_who_has_accepted_what(moved):
    notes: list[tuple[str, ...]] = []
    drift = drift_of(moved, notes)
    assert asyncio.run(drift.accept("m", "", "carol", drift.pinned("m", ""))) == [("m", "1")]
    assert notes == [("drift.accept", "carol", "model m version 1")]


@pytest.mark.parametrize("version", ["", "2"])
def test_where_nothing_has_changed_nothing_is_accepted(version):
    traffic = Traffic()
    traffic.send(30)
    with pytest.raises(ProblemsFound, match="nothing has changed"):
        asyncio.run(drift_of(traffic, []).accept("m", version))


def test_another_alarm_than_the_one_that_was_meant_is_not_accepted(moved):
    drift = drift_of(moved, [])
    pinned = drift.pinned("m", "1")
    asyncio.run(drift.accept("m", "1"))
    moved.send(30, moved=1.5)
    moved.send(6, moved=-1.5)
    with pytest.raises(ProblemsFound, match="other alarms"):
        asyncio.run(drift.accept("m", "1", pinned=pinned))
