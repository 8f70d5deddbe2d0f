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
from modelward.supervisor.step_events import MOST_NAMES, StepEvents
from modelward.supervisor.step_minute import FIRST, FIRST_OF_ONE, MOST_SEVERE
from modelward_native.detect.suspicion import Suspicion
from modelward_native.region.region import Region
from modelward_native.testing.steps import Steps
from modelward_native.testing.suspicion import Suspicion as Table

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


def test_rises_that_cost_answers_are_told_by_name_however_many_steps_others_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told()
    for _ in range(50):  # these use up every line that there is
        told.write(1, "observe", "tag", "flapping")
        told.write(1, "tag", "observe", "flapping")
    for key in range(FIRST):
        told.write(100 + key, "observe", "tag", f"other-{key}")
    told.write(2, "delay", "fallback", "customer")
    told.write(2, "fallback", "block", "customer")
    with caplog.at_level(logging.WARNING, "modelward.detect"):
        told.events.look(time.monotonic())
    assert [record.object for record in told.records if record.after["step"] in ("fallback", "block")] == [
        "key customer"
    ] * 2
    assert "'customer' of model fraud rises from fallback to block" in caplog.messages[-1]


def test_of_one_identity_that_goes_up_and_down_a_few_steps_are_told_and_the_others_put_together(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told()
    for _ in range(20):
        told.write(1, "tag", "block", "flapping")
        told.write(1, "block", "tag", "flapping")
    told.write(2, "observe", "tag", "quiet")
    with caplog.at_level(logging.WARNING, "modelward.detect"):
        told.events.end()
    *single, total = told.records
    assert [record.object for record in single].count("key flapping") == 1 + FIRST_OF_ONE
    assert [record.object for record in single].count("key quiet") == 1
    rest = 40 - 1 - FIRST_OF_ONE
    assert total.figures["identities"] == [
        {"identity": "key flapping", "model": "fraud", "steps": rest, "highest": "block", "last": "tag"}
    ]
    assert caplog.messages[-1] == (
        f"{rest} more steps of identities in this minute: key 'flapping' of model fraud {rest}, up to block, now tag"
    )


def test_a_flood_of_severe_steps_is_bounded_too_and_named_in_the_sum() -> None:
    told = Told()
    for key in range(MOST_SEVERE + 20):
        told.write(key + 1, "delay", "block", f"n{key}")
    told.events.end()
    *single, total = told.records
    assert len(single) == MOST_SEVERE + FIRST
    assert total.figures["by_model"] == {"fraud": {"block": 20 - FIRST}}
    assert len(total.figures["identities"]) == 20 - FIRST


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
    table, now = Table(told.region), time.monotonic_ns()
    table.put(1, now, {"unlike": 19.1}, distinct=400)
    table.put(2, now, distinct=400, spends="fallback")
    table.put(3, now, distinct=400)
    table.pin(3, "block", now)
    told.events.look(time.monotonic())
    counts = told.events.stats().identities
    assert {step: count for step, count in counts.items() if count} == {"top_class": 1, "fallback": 1, "block": 1}


def test_a_name_that_an_operator_restricts_and_that_never_asked_is_not_counted_for_each_kind_that_it_may_be() -> None:
    told = Told()
    for text in (b"key identity a", b"jwt identity a", b"certificate identity a"):
        told.suspicion.pin(told.suspicion.key(text, "fraud"), "block", time.monotonic_ns())
    told.events.look(time.monotonic())
    assert sum(told.events.stats().identities.values()) == 0
