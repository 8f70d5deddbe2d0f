"""Who may not see a proposal learns nothing of it from any call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from modelward.admin.authorization import OperatorCall
from modelward.admin.messages import message
from modelward.admin.operator import Status
from modelward.admin.proposal_calls import ProposalCalls
from modelward.admin.server_calls import ServerCalls
from modelward.approvals.book import Book, is_own
from modelward.approvals.proposal import Ask
from modelward.audit.record import Actor, Record
from modelward.config.address import parse_address
from modelward.config.operators import Operators
from modelward.operators.denials import Denials
from modelward.operators.identity import Operator
from modelward.operators.rights import Rights
from modelward.problem import Problem
from modelward.repository.refused import Refused
from modelward.rpc.protocol import Message, RpcError
from modelward.telemetry.snapshot import Snapshot

ASK = Ask(verb="promote", model="secret", version="2")
BOOK = Book().proposed(ASK, Actor(name="dan", proof="certificate"), 0.0, seconds=100.0, needed=1, person=str)
RIGHTS = {"tokens": [], "bindings": [
    {"certificate": "eve", "roles": ["approver"], "models": ["public"]},
    {"certificate": "vic", "roles": ["viewer"], "models": ["*"]},
    {"certificate": "vic", "roles": ["approver"], "models": ["public"]},
    {"certificate": "ben", "roles": ["approver"], "models": ["*"]},
]}  # fmt: skip


class Noted:
    async def confirm(self, record: Record) -> int:
        raise AssertionError("nothing is done")

    def note(self, record: Record) -> None:
        pass


def told_to_wait(who: str, waiting: Sequence[str]) -> int:
    """Proposals that the status tells `who` of, of those for these models."""
    nowhere = parse_address("127.0.0.1:1")
    status = Status("ready", 1.0, 1, nowhere, nowhere, "shared memory", (), None, Snapshot(), {}, waiting=waiting)
    call = OperatorCall(Operator(who, "certificate"), who, Rights(Operators.model_validate(RIGHTS)), Denials(Noted()))
    server: Any = SimpleNamespace(status=lambda: status)
    answer: Any = asyncio.run(ServerCalls(server).status(message("StatusRequest"), call))
    return int(answer.proposals_waiting)


def ask(method: str, who: str, number: int) -> tuple[Any, Denials]:
    """What the method answers to `who`, and the denials since."""

    async def main() -> tuple[Message, Denials]:
        operator, denials = Operator(who, "certificate"), Denials(Noted())
        call = OperatorCall(operator, who, Rights(Operators.model_validate(RIGHTS)), denials)
        own = lambda proposal, by: is_own(proposal, by, str)  # noqa: E731
        withdrawn = AsyncMock(side_effect=lambda number, by, reason: BOOK.withdrawn(1, by, 1.0, reason, str).find(1))
        desk = SimpleNamespace(
            book=BOOK, is_own=own, withdraw=withdrawn, refresh=AsyncMock(), told=lambda proposal: proposal
        )
        refused = [Refused("secret", "2", (Problem("its files are others", ""),), kept=True)]
        report = SimpleNamespace(refused=refused, facts={})
        server: Any = SimpleNamespace(
            proposals=SimpleNamespace(desk=desk), status=lambda: SimpleNamespace(report=report)
        )
        request = SimpleNamespace(number=number, reason="looks good", ended=False)
        try:
            return await getattr(ProposalCalls(server), method)(request, call), denials
        finally:
            denials.stop()

    return asyncio.run(main())


@pytest.mark.parametrize("method", ["proposals", "approve", "reject", "withdraw", "review"])
def test_a_proposal_of_another_model_is_told_as_one_that_is_not_there(method: str) -> None:
    (hidden,), (absent,) = (ask(method, "eve", number)[0].problems for number in (1, 2))
    assert hidden.what == absent.what == "there is no such proposal"
    assert (hidden.how, hidden.why) == (absent.how, absent.why)
    assert "secret" not in str(hidden)


def test_an_approver_is_told_that_the_files_in_the_repository_are_not_those_that_are_served() -> None:
    (told,) = ask("proposals", "ben", 1)[0].proposals
    assert told.files == "an older file is served; the one on disk was refused: its files are others"


def test_the_status_counts_the_proposals_that_wait_for_those_who_may_see_them() -> None:
    waiting = ["secret", "public", "secret", ""]
    assert [told_to_wait(who, waiting) for who in ("vic", "eve", "mal")] == [4, 1, 0]
    assert told_to_wait("vic", []) == 0


def test_the_denial_is_counted_all_the_same() -> None:
    assert ask("approve", "eve", 1)[1].counts == {("approve", "denied"): 1}


def test_who_sees_it_is_told_why_they_may_not() -> None:
    with pytest.raises(RpcError, match="approve of model secret is not allowed"):
        ask("approve", "vic", 1)


def test_who_has_proposed_it_withdraws_it_without_the_right_to_reject() -> None:
    answer, denials = ask("withdraw", "dan", 1)
    assert (answer.proposal.state, answer.proposal.ended_by, [*answer.problems]) == ("withdrawn", "dan", [])
    assert denials.counts == {}


def test_others_do_not_withdraw_it_and_who_may_reject_is_told_how_to_end_it() -> None:
    with pytest.raises(RpcError, match="reject of model secret is not allowed"):
        ask("withdraw", "vic", 1)
    assert ask("withdraw", "eve", 1)[1].counts == {("reject", "denied"): 1}
    (problem,) = ask("withdraw", "ben", 1)[0].problems
    assert (problem.what, "modelward reject 1" in problem.how) == ("dan has proposed it", True)
