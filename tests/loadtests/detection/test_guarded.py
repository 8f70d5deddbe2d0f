"""What attackers and operators see of a guard that acts, and the load tests on a small scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from loadtests.detection import attackers, oracle, victims
from loadtests.detection.arena import Arena, arena
from loadtests.detection.attackers import Plan, Trial
from loadtests.detection.oracle import FALLBACK, FULL, REFUSED, Wire
from loadtests.detection.suspects import Watcher
from loadtests.detection.victims import Victim
from loadtests.detection.walks import Target
from modelward.cli.admin import Client
from modelward.config.address import Address

NAMES = ("anna", "boris", "carla", "doris")
DELAY = 0.1


@pytest.fixture(scope="module")
def victim() -> Victim:
    return victims.victim("breast-cancer-logistic")


@pytest.fixture(scope="module")
def running(victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena(
        tmp_path_factory.mktemp("guarded"), {"served": victim}, NAMES, {"mode": "act", "delay": f"{DELAY}s"}
    ) as served:
        yield served


def hold(running: Arena, name: str, step: str) -> None:
    with grpc.insecure_channel(f"unix:{running.admin}") as channel:
        client = Client(Address(path=str(running.admin)), channel)
        answer: Any = client.call("RestrictIdentity", 30.0, name=name, model="served", step=step, seconds=600.0)
    assert not answer.problems


@pytest.mark.parametrize(
    ("name", "step", "how"), [("anna", "tag", FULL), ("boris", "fallback", FALLBACK), ("carla", "block", REFUSED)]
)
def test_what_a_restricted_identity_gets_is_told_apart_and_operators_see_it(
    running: Arena, victim: Victim, name: str, step: str, how: str
) -> None:
    rows = victim.table.owned[:3]
    with oracle.channel(running.server.grpc) as channel, Watcher(running.admin, lambda *_: 7) as watcher:
        wire = Wire(channel, "served", victim, running.identities([name]))
        assert [answer.how for answer in wire.ask(rows)] == [FULL] * 3
        hold(running, name, step)
        assert [answer.how for answer in wire.ask(rows)] == [how] * 3
        assert wire.identities_left == (how != REFUSED)
    suspect = watcher.suspects[name, "served"]
    assert suspect.step == step and suspect.seen["tag"] == 7 and suspect.restricted == (step != "tag")


def test_an_attack_goes_on_with_the_identities_that_are_left(running: Arena, victim: Victim) -> None:
    hold(running, "carla", "block")
    with oracle.channel(running.server.grpc) as channel:
        wire = Wire(channel, "served", victim, running.identities(["carla", "anna"]), per_second=2_000.0)
        assert [answer.how for answer in wire.ask(victim.table.owned[:4])] == [FULL] * 4
    assert wire.identities_left == 1 and wire.sent == 5


def test_an_identity_whose_labels_are_held_back_is_given_up_once_that_shows(running: Arena, victim: Victim) -> None:
    hold(running, "doris", "delay")
    rows = victim.table.owned[:3]
    with oracle.channel(running.server.grpc) as channel:
        patient = Wire(channel, "served", victim, running.identities(["doris"]), late=60.0)
        assert all(oracle.label_alone(answer) for answer in patient.ask(rows)) and patient.identities_left == 1
        wire = Wire(channel, "served", victim, running.identities(["doris"]), per_second=2_000.0, late=DELAY / 4)
        assert [answer.how for answer in wire.ask(rows)][1:] == [REFUSED, REFUSED]
    assert wire.identities_left == 0 and wire.sent == 1


def test_an_attack_that_has_not_ended_in_time_is_cut(running: Arena, victim: Victim) -> None:
    row = victim.table.owned[0]
    trial = Trial(victim.name, "served", "NES", [running.keys["anna"]], Target(row, 0, row[None], 1.0), 100)
    with oracle.channel(running.server.grpc) as channel:
        outcome = attackers.attempt(channel, Plan(0, {victim.name: victim}, []), trial, ends=0.0)
    assert outcome.cut and outcome.sent == 0 and outcome.error == ""
