"""Limits that operators set for a time, as calls of the admin API."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import Any, cast, get_args

from modelward.admin.authorization import OperatorCall
from modelward.admin.messages import message, problems_of
from modelward.admin.operator import Operator, TemporaryLimits
from modelward.audit.action import recorded
from modelward.audit.record import human
from modelward.config.operators import LONGEST
from modelward.config.rate_limit import Limit
from modelward.config.units import UnitError
from modelward.limits.temporary import Kind, TemporaryLimit
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.asked import check_reason
from modelward.rpc.protocol import Code, Message, RpcError, clip

MOST_SECONDS = 7 * 24 * 60 * 60
LONGEST_VALUE = 32  # characters


class LimitCalls:
    """Methods of the admin API, as modelward.admin.service lists them."""

    def __init__(self, server: Operator) -> None:
        self._server = server

    async def set(self, request: Any, call: OperatorCall) -> Message:
        kind, name = _subject(request, call)
        try:
            limit = _limit(kind, name, request, call.actor)
            fields = {"after": limit.words, "reason": request.reason, "figures": {"until": int(limit.until)}}
            await self._recorded("limit.set", kind, name, call, partial(self._limits.set, limit), **fields)
        except ProblemsFound as found:
            return message("LimitsResponse", problems=problems_of(found.problems))
        return message("LimitsResponse", limits=[limit_message(limit)])

    async def unset(self, request: Any, call: OperatorCall) -> Message:
        kind, name = _subject(request, call)
        try:
            await self._recorded("limit.unset", kind, name, call, partial(self._limits.unset, kind, name))
        except ProblemsFound as found:
            return message("LimitsResponse", problems=problems_of(found.problems))
        return message("LimitsResponse")

    @property
    def _limits(self) -> TemporaryLimits:
        return self._server.temporary_limits

    async def _recorded(self, verb: str, kind: Kind, name: str, call: OperatorCall, act: Any, **fields: Any) -> None:
        model = name if kind == "model" else ""
        asked = human(verb, call.operator.actor, model=model, object=f"{kind} {name}", **fields)
        await recorded(self._server.trail, asked, act)


def limit_message(limit: TemporaryLimit) -> Message:
    fields = {"kind": limit.kind, "name": limit.name, "limit": limit.words, "until": limit.until}
    return message("TemporaryLimit", by=limit.by, reason=limit.reason, **fields)


def limit_messages(limits: Iterable[TemporaryLimit]) -> list[Message]:
    return [limit_message(each) for each in limits]


def _subject(request: Any, call: OperatorCall) -> tuple[Kind, str]:
    """Of whom the limit is. An identity may ask for any model. Raises RpcError."""
    kind, name = request.kind, request.name
    if kind not in get_args(Kind) or not 0 < len(name) <= LONGEST or not name.isprintable() or "*" in name:
        text = f"{clip(kind)} {clip(name)} is neither a model nor an identity: give its kind, and its whole name"
        raise RpcError(Code.INVALID_ARGUMENT, text, "UNKNOWN_KIND")
    call.demand("override", name if kind == "model" else None)
    return cast(Kind, kind), name


def _limit(kind: Kind, name: str, request: Any, by: str) -> TemporaryLimit:
    """Raises ProblemsFound."""
    where = f"{kind} {name}"
    check_reason(name, request.reason)
    if not 0 < request.seconds <= MOST_SECONDS:
        how = "Give a time of at most 7d; for longer, write it into the configuration"
        raise ProblemsFound([Problem(f"{request.seconds:g} s is no time that a limit can last", where, how=how)])
    texts = {"rate": request.rate, "time": request.time, "burst": request.burst}
    for key, text in texts.items():
        if len(text) > LONGEST_VALUE:
            raise ProblemsFound([Problem(f"{key} has {len(text)} characters", where, how=f"Give --{key} 100")])
    try:
        written = {key: text or None for key, text in texts.items()}
        limit = Limit.of(**written | {"burst": int(request.burst) if request.burst.isdecimal() else written["burst"]})
    except UnitError as error:
        raise ProblemsFound([Problem(str(error), where, how=error.how)]) from None
    return TemporaryLimit(kind, name, limit, time.time() + request.seconds, by, request.reason)
