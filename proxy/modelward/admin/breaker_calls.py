"""Breakers that operators hold open or closed for a time, as a call of the admin API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast, get_args

from modelward.admin.approving import Approving, glass_of
from modelward.admin.authorization import OperatorCall
from modelward.admin.limit_calls import MOST_SECONDS
from modelward.admin.messages import message, problems_of
from modelward.admin.operator import Operator
from modelward.admin.proposal_calls import proposal_message
from modelward.config.operators import LONGEST
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.asked import check_reason
from modelward.rpc.protocol import Code, Message, RpcError, clip
from modelward.upstream.breaker_override import Action, BreakerOrder, BreakerOverride

ACTIONS = get_args(Action)


class BreakerCalls:
    """Methods of the admin API, as modelward.admin.service lists them."""

    def __init__(self, server: Operator) -> None:
        self._server = server

    async def override(self, request: Any, call: OperatorCall) -> Message:
        order = _order(request)
        try:
            _check(order)
            held, proposal = await Approving(self._server, call).breaker(order, glass_of(request))
        except ProblemsFound as found:
            return message("OverrideBreakerResponse", problems=problems_of(found.problems))
        return message(
            "OverrideBreakerResponse",
            overrides=override_messages(held or ()),
            proposal=proposal_message(proposal) if proposal is not None else None,
        )


def override_messages(overrides: Iterable[BreakerOverride]) -> list[Message]:
    return [
        message(
            "BreakerOverride",
            model=each.model,
            endpoint=each.endpoint,
            state=each.state,
            until=each.until,
            by=each.by,
            reason=each.reason,
        )
        for each in overrides
    ]


def _order(request: Any) -> BreakerOrder:
    """Raises RpcError for what is no order."""
    action, names = request.action, (request.model, request.endpoint)
    if action not in ACTIONS:
        text = f"{clip(action)} is nothing to do with a breaker: it takes {', '.join(ACTIONS)}"
        raise RpcError(Code.INVALID_ARGUMENT, text, "UNKNOWN_ACTION")
    if not request.model or any(len(name) > LONGEST or (name and not name.isprintable()) for name in names):
        text = f"{clip(request.model)} {clip(request.endpoint)} is no model with an upstream: give their whole names"
        raise RpcError(Code.INVALID_ARGUMENT, text, "UNKNOWN_NAME")
    seconds = 0.0 if action == "auto" else request.seconds
    return BreakerOrder(request.model, request.endpoint, cast(Action, action), seconds, request.reason)


def _check(order: BreakerOrder) -> None:
    """Raises ProblemsFound."""
    check_reason(order.model, order.reason)
    if order.action != "auto" and not 0 < order.seconds <= MOST_SECONDS:
        what = f"{order.seconds:g} s is no time that a breaker override can last"
        how = "Give a time of at most 7d; for longer, change the upstreams of the model in the configuration"
        raise ProblemsFound([Problem(what, order.where, how=how)])
