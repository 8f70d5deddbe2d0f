"""Denied calls: all are counted, few are told one by one."""

from __future__ import annotations

import asyncio
import logging

import pytest

from modelward.audit.record import Actor, Record
from modelward.operators import denials
from modelward.operators.denials import FIRST, FIRST_OF_OPERATOR, MOST_NAMED, Denials


class Noted:
    def __init__(self) -> None:
        self.records: list[Record] = []

    async def confirm(self, record: Record) -> int:
        raise AssertionError("nobody waits for it")

    def note(self, record: Record) -> None:
        self.records.append(record)


def test_a_flood_is_told_and_recorded_as_a_few_calls_and_a_sum(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        of = Denials(noted)
        for number in range(1000):
            of.add("promote", "denied", Actor(name=f"mallory {number}", proof="token"), "it takes deployer", "m" * 5000)
        of.stop()
        assert of.counts == {("promote", "denied"): 1000}

    noted = Noted()
    with caplog.at_level(logging.WARNING, "modelward.operators"):
        asyncio.run(main())
    assert len(caplog.records) == FIRST + 1
    *first, last = noted.records
    assert len(first) == FIRST
    assert {(each.kind, each.verb, each.result) for each in first} == {("human", "promote", "refused")}
    assert max(len(each.encoded(0)) for each in noted.records) < 4000
    assert (last.kind, last.figures["calls"], len(last.figures["by"])) == ("summary", 1000 - FIRST, MOST_NAMED + 1)
    assert sum(last.figures["by"].values()) == 1000 - FIRST


def test_strangers_hide_no_operator() -> None:
    async def main() -> None:
        of = Denials(noted)
        for number in range(100):
            of.add("status", "denied", Actor(name=f"mallory {number}", proof="certificate"), "no binding")
        for _ in range(FIRST_OF_OPERATOR + 2):
            of.add(
                "promote", "denied", Actor(name="bob", proof="certificate"), "it takes deployer", "fraud", bound=True
            )
        of.stop()

    noted = Noted()
    asyncio.run(main())
    told = [each.actor.name for each in noted.records if each.actor is not None]
    assert told.count("bob") == FIRST_OF_OPERATOR
    assert noted.records[-1].figures["by"]["bob: promote fraud"] == 2


def test_each_minute_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "MINUTE_SECONDS", 0.0)

    async def main() -> None:
        of = Denials(noted)
        for _ in range(2):
            for _ in range(FIRST + 1):
                of.add("status", "unauthenticated", Actor(name="10.0.0.1", proof="address"), "no credential")
            while of._minute is not None:
                await asyncio.sleep(0)

    noted = Noted()
    asyncio.run(main())
    assert [each.kind for each in noted.records] == [*["human"] * FIRST, "summary"] * 2
