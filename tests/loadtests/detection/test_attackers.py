"""Attackers against a served model, on a small scale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from loadtests import theft
from loadtests.detection import attackers, oracle, tables, victims
from loadtests.detection.arena import Arena, arena
from loadtests.detection.attackers import ADAPTIVE, Trial
from loadtests.detection.crowd import ANSWERED, Crowd, Plan, Stream
from loadtests.detection.oracle import FULL, Wire
from loadtests.detection.targets import BUDGET, targets
from loadtests.detection.victims import Victim

BUDGETS = (50, 150)


@pytest.fixture(scope="module")
def victim() -> Victim:
    return victims.victim("breast-cancer-logistic")


@pytest.fixture(scope="module")
def running(victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("arena"), {"served": victim}, ["anna", "boris"]) as served:
        yield served


def test_answers_come_in_the_order_of_the_rows_and_are_the_models_own(running: Arena, victim: Victim) -> None:
    rows = victim.table.owned[:40]
    for per_second in (0.0, 2_000.0):  # many rows in a request, and one
        with oracle.channel(running.server.grpc) as channel:
            wire = Wire(channel, "served", victim, running.identities(["anna", "boris"]), per_second=per_second)
            answers = wire.ask(rows)
        assert {answer.how for answer in answers} == {FULL}
        assert np.allclose([answer.scores for answer in answers], victim.scores(rows), atol=1e-3)
        assert len(np.unique(victim.labels(rows))) == 2


def test_rows_are_dealt_to_the_identities_in_turn(running: Arena, victim: Victim) -> None:
    identities = running.identities(["anna", "boris"])
    unknown = oracle.Identity("mw_000000000000_" + "a" * 43)
    with oracle.channel(running.server.grpc) as channel:
        assert Wire(channel, "served", victim, identities, per_second=2_000.0).ask(victim.table.owned[:4])
        with pytest.raises(grpc.RpcError):
            Wire(channel, "served", victim, [*identities, unknown], per_second=2_000.0).ask(victim.table.owned[:4])


def test_a_thief_of_real_rows_copies_the_model_and_one_of_noise_copies_it_less_well(
    running: Arena, victim: Victim
) -> None:
    other, agreement = tables.load("digits"), {}
    for thief in ("half of the real data", "knockoff"):
        with oracle.channel(running.server.grpc) as channel:
            wire = Wire(channel, "served", victim, running.identities(["anna"]))
            haul = theft.judge(victim, thief, *theft.steal(victim, thief, other, wire, BUDGETS[-1]), BUDGETS)
        assert haul.answered == haul.asked == min(BUDGETS[-1], len(victim.table.owned) if "real" in thief else 999)
        agreement[thief] = haul.agreement[BUDGETS[-1]]
    assert agreement["half of the real data"] > 0.95 > agreement["knockoff"]


def test_a_crowd_is_answered_and_counted_by_model_and_tenant(running: Arena, victim: Victim, tmp_path: Path) -> None:
    keys = [running.keys["anna"], "mw_000000000000_" + "a" * 43, running.keys["boris"]]
    stream = Stream("served", victim.table, keys, seed=0)
    with Crowd(Plan(running.server.grpc, [stream], requests=60), tmp_path) as tenants:
        tenants.wait(60)
        assert not tenants.running
    assert tenants.tally.sent == tenants.tally.done == 180
    (refused,) = tenants.tally.outcomes["served"].keys() - {ANSWERED}
    assert refused.startswith("status 16") and tenants.tally.outcomes["served"] == {ANSWERED: 120, refused: 60}
    assert tenants.tally.tenants == {"served": {"1": {refused: 60}}}


def test_attackers_in_a_process_of_their_own_tell_what_came_of_each_trial(
    running: Arena, victim: Victim, tmp_path: Path
) -> None:
    target = targets(victim, 1)[0]
    trials = [
        Trial(victim.name, "served", attack, [running.keys["anna"], running.keys["boris"]], target, BUDGET)
        for attack in ("NES", ADAPTIVE)
    ]
    outcomes = list(attackers.run(attackers.Plan(running.server.grpc, {victim.name: victim}, [trials]), tmp_path))
    assert [(each.attack, each.place, each.error) for each in outcomes] == [("NES", 0, ""), (ADAPTIVE, 1, "")]
    for outcome in outcomes:
        assert outcome.after is not None and outcome.after <= outcome.sent == outcome.how[FULL]
        assert outcome.nearest <= 1 and outcome.refused == 0 and outcome.identities == 2
