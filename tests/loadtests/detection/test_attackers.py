"""Attackers against a served model, on a small scale."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from loadtests import theft
from loadtests.detection import oracle, tables, victims
from loadtests.detection.arena import Arena, arena
from loadtests.detection.oracle import FULL, Wire
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
            wire = Wire(channel, "served", victim, running.identities(["anna", "boris"]), per_second)
            answers = wire.ask(rows)
        assert {answer.how for answer in answers} == {FULL}
        assert np.allclose([answer.scores for answer in answers], victim.scores(rows), atol=1e-3)
        assert len(np.unique(victim.labels(rows))) == 2


def test_rows_are_dealt_to_the_identities_in_turn(running: Arena, victim: Victim) -> None:
    identities = running.identities(["anna", "boris"])
    unknown = oracle.Identity("mw_000000000000_" + "a" * 43)
    with oracle.channel(running.server.grpc) as channel:
        assert Wire(channel, "served", victim, identities, 2_000.0).ask(victim.table.owned[:4])
        with pytest.raises(grpc.RpcError):
            Wire(channel, "served", victim, [*identities, unknown], 2_000.0).ask(victim.table.owned[:4])


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
