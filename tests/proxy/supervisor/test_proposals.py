"""What operators propose to a server, and that it is still about the same when it is approved."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelward.approvals.proposal import Proposal
from modelward.audit.record import Actor, Record
from modelward.audit.recorder import NoTrail
from modelward.config.schema import Config
from modelward.problem import ProblemsFound
from modelward.promotion.state import Promotion, State
from modelward.supervisor.proposals import Proposals


@pytest.fixture
def promoter() -> Any:
    return SimpleNamespace(state=State())


@pytest.fixture
def proposals(promoter: Any, tmp_path: Path) -> Proposals:
    none: Any = None
    config = Config.model_validate({"state": str(tmp_path)})
    return Proposals(none, promoter, none, none, none, lambda: config, lambda: none)


def promoted(version: str, phase: Any = "stepping") -> State:
    promotion = Promotion(version=version, before={"1": 1}, configured=None, steps=(100,), since=0.0, phase=phase)
    return State(promotions={"m": promotion})


def test_a_rollback_takes_back_what_was_promoted_when_it_was_proposed(proposals: Proposals, promoter: Any) -> None:
    promoter.state = promoted("2")
    ask = proposals.rollback("m", "incident 8")
    assert (ask.version, asyncio.run(proposals.pinned(ask))) == ("2", "")
    for state in (promoted("3"), promoted("2", "rolled back"), State()):
        promoter.state = state
        with pytest.raises(ProblemsFound, match="by now, and was 2"):
            asyncio.run(proposals.pinned(ask))
    promoter.state = promoted("2", "done")
    assert asyncio.run(proposals.pinned(ask)) == ""


def test_a_rollback_without_a_promotion_is_of_none(proposals: Proposals, promoter: Any) -> None:
    ask = proposals.rollback("m", "")
    assert (ask.version, asyncio.run(proposals.pinned(ask))) == ("", "")
    promoter.state = promoted("2")
    with pytest.raises(ProblemsFound, match="what is promoted is version 2 by now, and was none"):
        asyncio.run(proposals.pinned(ask))


def test_a_rollback_that_is_not_wanted_any_more_when_it_is_executed_is_on_record(promoter: Any, tmp_path: Path) -> None:
    told: list[Record] = []

    class Trail(NoTrail):
        async def confirm(self, record: Record) -> int:
            told.append(record)
            return 7

        async def settle(self, record: Record) -> bool:
            told.append(record)
            return True

    none: Any = None
    status = SimpleNamespace(promotions=(), report=None, weights={})
    server: Any = SimpleNamespace(status=lambda: status, trail=Trail())
    config = Config.model_validate({"state": str(tmp_path)})
    proposals = Proposals(server, promoter, none, none, none, lambda: config, lambda: none)
    promoter.state = promoted("2")
    ask = proposals.rollback("m", "incident 8")
    promoter.state = promoted("3")
    proposal = Proposal(number=1, ask=ask, by=Actor(name="ada"), at=0, since=0, expires=9, needed=1, state="executing")
    with pytest.raises(ProblemsFound, match="by now, and was 2"):
        asyncio.run(proposals.do(proposal))
    assert [(each.verb, each.result, each.of, each.proposal) for each in told] == [
        ("rollback", "asked", None, 1),
        ("rollback", "refused", 7, 1),
    ]
