"""Steps that identities take: told one by one up to a bound, then as a sum; their names are remembered."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest

from modelward.audit.record import Record
from modelward.config.schema import Config
from modelward.detect.restriction import Known
from modelward.supervisor.step_events import FIRST, MOST_NAMES, StepEvents
from modelward_native.detect.suspicion import Suspicion
from modelward_native.region.region import Region
from modelward_native.testing.steps import Steps

CONFIG = Config.model_validate({"models": {"fraud": {"detection": {"mode": "act", "strongest": "top_class"}}}})


class Told:
    """A region with one writer, and what was noted of it."""

    def __init__(self) -> None:
        self.region = Region()
        self.writer = Steps(self.region)
        self.records: list[Record] = []
        trail: Any = SimpleNamespace(note=self.records.append)
        self.suspicion = Suspicion(self.region, 1024)
        self.events = StepEvents(self.region, lambda: self.suspicion, lambda: CONFIG, lambda: trail)

    def write(self, key: int, before: str, after: str, name: str = "team%20a") -> None:
        self.writer.write(key, "key", name, "fraud", before, after, "near", (1.0, 19.26, 2.0), 5)


def test_a_step_is_a_line_and_a_record_with_its_evidence_and_its_name_is_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told()
    told.write(7, "round", "block")
    told.write(7, "block", "observe")
    with caplog.at_level(logging.INFO, "modelward.detect"):
        told.events.look(time.monotonic())
    rises, falls = told.records
    assert (rises.verb, rises.model, rises.object) == ("identity.rises", "fraud", "key team a")
    assert (rises.before, rises.after) == ({"step": "round"}, {"step": "block", "gets": "top_class"})
    assert rises.figures["evidence"] == {"unlike": 1.0, "near": 19.3, "walk": 2.0}
    assert (falls.verb, falls.after) == ("identity.falls", {"step": "observe", "gets": "observe"})
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "rises from round to block by near (19.3 nats); it gets: top_class" in caplog.records[0].getMessage()
    assert told.events.names == {7: Known("key", "team a", "fraud")}


def test_a_spent_budget_is_told_in_rows(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    told.writer.write(7, "key", "team-a", "fraud", "observe", "round", "budget", (0.0, 0.0, 0.0), 5, 20_400.0)
    with caplog.at_level(logging.INFO, "modelward.detect"):
        told.events.look(time.monotonic())
    assert "rises from observe to round by budget (20400 rows today)" in caplog.records[0].getMessage()
    assert told.records[0].figures["rows"] == 20_400


def test_a_flood_of_steps_is_a_bounded_number_of_records_and_one_sum() -> None:
    told = Told()
    for key in range(FIRST + 30):
        told.write(key + 1, "observe", "tag")
    told.events.end()
    *single, total = told.records
    assert len(single) == FIRST
    assert (total.kind, total.verb, total.figures["steps"]) == ("summary", "detection.steps", 30)
    assert total.figures["by_model"] == {"fraud": {"tag": 30}}


def test_what_was_overwritten_before_it_was_read_is_counted() -> None:
    told = Told()
    for key in range(700):
        told.write(key + 1, "observe", "tag")
    told.events.end()
    assert told.events.stats().lost == 700 - 512
    assert told.records[-1].figures["steps"] == 700 - FIRST


def test_the_names_of_the_latest_are_kept() -> None:
    told = Told()
    for key in range(MOST_NAMES + 5):
        told.write(key + 1, "observe", "tag", f"n{key}")
        if key % 500 == 0:
            told.events.look(time.monotonic())
    told.events.look(time.monotonic())
    assert len(told.events.names) == MOST_NAMES
    assert 1 not in told.events.names


def test_identities_are_counted_by_their_step() -> None:
    told = Told()
    told.suspicion.pin(told.suspicion.key(b"key identity a", "fraud"), "round", time.monotonic_ns())
    told.events.look(time.monotonic())
    assert told.events.stats().identities["round"] == 1
