"""Proposals as messages of the admin API, and the calls that are about them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from modelward.admin.authorization import OperatorCall
from modelward.admin.messages import message, problems_of
from modelward.admin.operator import Operator
from modelward.config.operators import Verb
from modelward.problem import ProblemsFound
from modelward.promotion.asked import check_reason
from modelward.repository.refused import stale
from modelward.rpc.protocol import Message, RpcError

if TYPE_CHECKING:
    from modelward.approvals.proposal import Approval, Ask, Proposal
    from modelward.audit.record import Actor


OUT_OF_REACH = "out of reach, on {}: the digest is of inputs, outputs and platform; only a canary tells what answers"
HIDDEN = "(shown to those who may approve it)"


class ProposalCalls:
    """Methods of the admin API, as modelward.admin.service lists them."""

    def __init__(self, server: Operator) -> None:
        self._server = server

    async def proposals(self, request: Any, call: OperatorCall) -> Message:
        desk = self._server.proposals.desk
        await desk.refresh()
        book = desk.book
        try:
            if request.number:
                found = book.find(request.number)
                if not _sees(call, found.ask):
                    raise _unknown(request.number)
                told = proposal_message(desk.told(found), diff=self._reads(call, found), files=self._files(found))
                return message("ProposalsResponse", proposals=[told])
        except ProblemsFound as refused:
            return message("ProposalsResponse", problems=problems_of(refused.problems))
        listed = [each for each in book.proposals if request.ended or not each.is_over or each.is_unreviewed]
        return message(
            "ProposalsResponse",
            proposals=[proposal_message(desk.told(each), whole=False) for each in listed if _sees(call, each.ask)],
        )

    async def approve(self, request: Any, call: OperatorCall) -> Message:
        return await self._about("approve", request, call)

    async def reject(self, request: Any, call: OperatorCall) -> Message:
        return await self._about("reject", request, call)

    async def withdraw(self, request: Any, call: OperatorCall) -> Message:
        desk, by, number = self._server.proposals.desk, call.operator.actor, request.number
        await desk.refresh()
        try:
            proposal = desk.book.find(number)
            if not desk.is_own(proposal, by):
                _demand("reject", number, proposal.ask, call)
            check_reason(proposal.ask.model, request.reason)
            return message(
                "ProposalResponse", proposal=proposal_message(await desk.withdraw(number, by, request.reason))
            )
        except ProblemsFound as refused:
            return message("ProposalResponse", problems=problems_of(refused.problems))

    async def review(self, request: Any, call: OperatorCall) -> Message:
        return await self._about("review", request, call)

    async def _about(self, verb: Any, request: Any, call: OperatorCall) -> Message:
        desk, by = self._server.proposals.desk, call.operator.actor
        await desk.refresh()
        try:
            ask = desk.book.find(request.number).ask
            _demand(verb, request.number, ask, call)
            check_reason(ask.model, request.reason)
            acts: dict[str, Callable[[int, Actor, str], Awaitable[Proposal]]] = {
                "approve": partial(desk.approve, demand=call.demand),
                "reject": desk.reject,
                "review": desk.review,
            }
            after = await acts[verb](request.number, by, request.reason)
            return message("ProposalResponse", proposal=proposal_message(after, files=self._files(after)))
        except ProblemsFound as refused:
            return message("ProposalResponse", problems=problems_of(refused.problems))

    def _reads(self, call: OperatorCall, proposal: Proposal) -> bool:
        """Whether this operator may read lines of the configuration: who asks for its change, and who decides on it."""
        is_own = self._server.proposals.desk.is_own(proposal, call.operator.actor)
        return is_own or call.may("approve", proposal.ask.model or None) or call.may("bindings")

    def _files(self, proposal: Proposal) -> str:
        """Why those in the repository are not what it is about: what is open is. Or that they are out of reach."""
        report = self._server.status().report
        if proposal.is_over or report is None:
            return ""
        facts = report.facts.get(proposal.ask.model, {}).get(proposal.ask.version)
        if facts is not None and facts.interface:
            places = report.cells("backend", proposal.ask.model, proposal.ask.version).replace("\n", ", ")
            return OUT_OF_REACH.format(places)
        return stale(proposal.ask.model, proposal.ask.version, report.refused)


def proposal_message(proposal: Proposal, *, whole: bool = True, diff: bool = True, files: str = "") -> Message:
    """whole: with verdict and diff. diff: without it, there is a diff and its lines are not told. files: as in the
    message."""
    ask, asked = proposal.ask, proposal.ask.parameters
    return message(
        "Proposal",
        number=proposal.number,
        verb=ask.verb,
        model=ask.model,
        version=ask.version,
        digest=ask.digest,
        files=files,
        by=proposal.by.name,
        at=proposal.at,
        expires=proposal.expires,
        reason=ask.reason,
        needed=proposal.enough,
        approvals=[_approval(each) for each in proposal.approvals],
        state=proposal.state,
        since=proposal.since,
        why=proposal.why,
        ended_by=proposal.ended_by,
        steps=asked.steps or (),
        auto=asked.auto,
        force=asked.force,
        without=asked.without,
        action=asked.action,
        endpoint=asked.endpoint,
        seconds=asked.seconds,
        from_percent=asked.percent[0] if asked.percent is not None else 0,
        to_percent=asked.percent[1] if asked.percent is not None else 0,
        verdict=json.dumps(ask.verdict, allow_nan=False) if whole and ask.verdict is not None else "",
        diff=() if not whole or not ask.diff else ask.diff if diff else (HIDDEN,),
        break_glass=proposal.break_glass,
        server=proposal.on,
        review=_approval(proposal.reviewed) if proposal.reviewed is not None else None,
    )


def _approval(approval: Approval) -> Message:
    fields = {"by": approval.by.name, "at": approval.at, "reason": approval.reason, "signed": approval.signed}
    return message("Approval", **fields)


def _demand(verb: Verb, number: int, ask: Ask, call: OperatorCall) -> None:
    """Who does not see the proposal is told nothing of its model; the denial is counted and recorded all the same."""
    try:
        call.demand(verb, ask.model or None)
    except RpcError:
        if _sees(call, ask):
            raise
        raise _unknown(number) from None


def _unknown(number: int) -> ProblemsFound:
    from modelward.approvals.book import LOOK, NO_SUCH, refusal  # noqa: PLC0415 - loaded by what has asked for it

    return refusal(number, NO_SUCH, LOOK)


def _sees(call: OperatorCall, ask: Ask) -> bool:
    return call.may("proposals", ask.model or None)
