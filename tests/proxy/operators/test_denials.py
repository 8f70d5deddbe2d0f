"""Denied calls: all are counted, few are told one by one."""

from __future__ import annotations

import asyncio
import logging

import pytest

from modelward.audit.record import Actor, Record
from modelward.config.operators import Binding, Operators
from modelward.operators import denials
from modelward.operators.denials import FIRST, FIRST_OF_OPERATOR, FIRST_OF_PATTERN, MOST_NAMED, Denials
from modelward.operators.identity import Operator
from modelward.operators.rights import Rights

CI = Binding(certificate="ci-*", roles=("viewer",))
ROBOTS = Binding(certificate="robot-*", roles=("viewer",))
BOB = Binding(certificate="bob", roles=("approver",))


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


def denied(of: Denials, name: str, verb: str, model: str = "", binding: Binding | None = None) -> None:
    of.add(verb, "denied", Actor(name=name, proof="certificate"), "it takes deployer", model, binding=binding)


def test_strangers_hide_no_operator() -> None:
    async def main() -> None:
        of = Denials(noted)
        for number in range(100):
            denied(of, f"mallory {number}", "status")
        for _ in range(FIRST_OF_OPERATOR + 2):
            denied(of, "bob", "promote", "fraud", BOB)
        of.stop()

    noted = Noted()
    asyncio.run(main())
    told = [each.actor.name for each in noted.records if each.actor is not None]
    assert told.count("bob") == FIRST_OF_OPERATOR
    assert noted.records[-1].figures["by"]["bob: promote fraud"] == 2


def test_many_names_that_match_a_pattern_hide_only_others_of_the_same_pattern() -> None:
    async def main() -> None:
        of = Denials(noted)
        for number in range(200):
            for _ in range(4):
                denied(of, f"ci-{number}", "promote", str(number), CI)
        denied(of, "robot-1", "promote", binding=ROBOTS)
        denied(of, "mallory", "promote")
        denied(of, "bob", "promote", "fraud", BOB)
        for _ in range(FIRST_OF_OPERATOR):
            denied(of, "bob", "reload", binding=BOB)
        of.stop()

    noted = Noted()
    asyncio.run(main())
    told = [each.actor.name for each in noted.records if each.actor is not None]
    assert {name: told.count(name) for name in ("bob", "robot-1", "mallory")} == {
        "bob": FIRST_OF_OPERATOR,
        "robot-1": 1,
        "mallory": 1,
    }
    assert sum(name.startswith("ci-") for name in told) == FIRST_OF_PATTERN
    assert noted.records[-1].figures["by"]["bob: reload"] == 1


def test_an_operator_counts_by_the_binding_that_names_it() -> None:
    rights = Rights(Operators(bindings=(ROBOTS, CI, BOB, Binding(certificate="ci-7", roles=("viewer",)))))
    found = {name: rights.binding(Operator(name, "certificate")) for name in ("ci-1", "ci-7", "bob", "mallory")}
    assert found["ci-1"] == CI
    assert found["ci-7"] is not None
    assert found["ci-7"].certificate == "ci-7"
    assert found["bob"] == BOB
    assert found["mallory"] is None
    bindings = (BOB, CI, Binding(user=7, roles=("viewer",)), Binding(group="staff", roles=("viewer",)))
    assert [each.is_exact for each in bindings] == [True, False, True, False]


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
