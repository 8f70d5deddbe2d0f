"""Identities that detection watches, as calls of the admin API: who is suspected, and what operators decide of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from modelward.admin.authorization import OperatorCall
from modelward.admin.limit_calls import MOST_SECONDS
from modelward.admin.messages import message, problems_of
from modelward.admin.operator import Operator
from modelward.audit.action import recorded
from modelward.audit.record import human
from modelward.config.detection import Step
from modelward.config.operators import LONGEST
from modelward.detect.progress import PHASES, Progress
from modelward.detect.restriction import ALL, STEPS, Restriction, is_network, where
from modelward.detect.suspects import Suspect, Suspects
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.asked import check_reason
from modelward.rpc.protocol import Code, Message, RpcError, clip
from modelward.suggest import suggestion

TOLD, MOST_TOLD = 50, 1000


class IdentityCalls:
    """Methods of the admin API, as modelward.admin.service lists them."""

    def __init__(self, server: Operator) -> None:
        self._server = server

    async def suspects(self, request: Any, call: OperatorCall) -> Message:
        least, model = _step(request.least or STEPS[0]), _model(request)
        if model != ALL:
            call.demand("status", model)
        if model != ALL and model not in (known := self._server.restrictions.watched()):
            how = suggestion(model, known) or "modelward status shows the models"
            problem = Problem("no such model watches identities", f"model {model}", how=how)
            return message("SuspectsResponse", problems=problems_of([problem]))
        found = self._server.suspects(least, min(request.most or TOLD, MOST_TOLD), model)
        return suspects_message(found if call.sees(None) else _visible(found, call))

    async def restrict(self, request: Any, call: OperatorCall) -> Message:
        name, model = _name(request), _model(request)
        call.demand("restrict", model or None)
        restrictions = self._server.restrictions
        try:
            above = call.rights.may(call.operator, "restrict", None).allowed
            restriction = replace(_restriction(name, model, request, call.actor), above=above)
            doubts = restrictions.doubts(name, model)
            asked = human(
                "identity.restrict",
                call.operator.actor,
                model=model,
                object=f"identity {name}",
                reason=request.reason,
                before=_held(restrictions.of(name)),
                after={"step": restriction.step, "until": int(restriction.until)},
            )

            async def act() -> Iterable[Restriction]:
                return restrictions.restrict(restriction)

            held = await recorded(self._server.trail, asked, act, lambda held: {"after": _held(held)})
        except ProblemsFound as found:
            return message("RestrictIdentityResponse", problems=problems_of(found.problems))
        return message("RestrictIdentityResponse", restrictions=_messages(_seen(held, call)), notes=problems_of(doubts))

    async def pardon(self, request: Any, call: OperatorCall) -> Message:
        every, model = bool(request.all), _model(request)
        if every and request.name:
            raise RpcError(Code.INVALID_ARGUMENT, "give a name or all, not both", "UNKNOWN_NAME")
        name = "" if every else _name(request)
        call.demand("restrict", model or None)
        restrictions = self._server.restrictions
        try:
            check_reason(model, request.reason)
            asked = human(
                "identity.pardon",
                call.operator.actor,
                model=model,
                object="all identities" if every else f"identity {name}",
                reason=request.reason,
                before=None if every else _held(restrictions.of(name)),
            )

            async def act() -> int:
                if every:
                    return restrictions.pardon_all(model, call.actor, request.reason)
                return restrictions.pardon(name, model, call.actor, request.reason)

            forgotten = await recorded(self._server.trail, asked, act, lambda count: {"after": {"forgotten": count}})
        except ProblemsFound as found:
            return message("PardonIdentityResponse", problems=problems_of(found.problems))
        return message("PardonIdentityResponse", forgotten=forgotten)


def suspects_message(found: Suspects) -> Message:
    return message(
        "SuspectsResponse",
        suspects=[_suspect(each) for each in found.suspects],
        steps=found.steps,
        watched=found.watched,
        restrictions=_messages(found.restrictions),
        evicted=min(found.evicted, 2**32 - 1),
        learning=learning_messages(found.learning),
    )


def learning_messages(learning: Iterable[Progress]) -> list[Message]:
    return [
        message(
            "Learning",
            model=each.model,
            phase=each.phase,
            rows=each.rows,
            needed=0 if each.phase == PHASES[-1] else each.needed,
            fewer=each.fewer,
            seconds=each.seconds,
            evidence=each.evidence,
            locked=each.locked,
            fault_seconds=each.fault_seconds,
            failing=each.failing,
        )
        for each in learning
    ]


def _suspect(each: Suspect) -> Message:
    return message(
        "Suspect",
        kind=each.kind,
        name=each.name,
        model=each.model,
        step=each.step,
        gets=each.gets,
        held=each.held,
        evidence=each.evidence,
        since_seconds=each.since,
        last_seconds=each.last,
        blocked_seconds=each.blocked,
        strikes=each.strikes,
        distinct=each.distinct,
        today=each.today,
        budget=each.budget,
    )


def _messages(restrictions: Iterable[Restriction]) -> list[Message]:
    return [
        message(
            "Restriction",
            name=each.identity,
            model=each.model,
            step=each.step,
            until=each.until,
            by=each.by,
            reason=each.reason,
        )
        for each in restrictions
    ]


def _visible(found: Suspects, call: OperatorCall) -> Suspects:
    """What an operator of some models may see; counts are of all models."""
    return replace(
        found,
        suspects=[each for each in found.suspects if each.model and call.sees(each.model)],
        steps={},
        watched=[name for name in found.watched if call.sees(name)],
        restrictions=_seen(found.restrictions, call),
        evicted=0,
        learning=[each for each in found.learning if call.sees(each.model)],
    )


def _seen(restrictions: Iterable[Restriction], call: OperatorCall) -> list[Restriction]:
    return [each for each in restrictions if call.sees(each.model or None)]


def _held(restrictions: Iterable[Restriction]) -> dict[str, Any]:
    """Of one identity, by model. until: seconds since 1970."""
    return {"held": {each.model or "all": {"step": each.step, "until": int(each.until)} for each in restrictions}}


def _name(request: Any) -> str:
    name = str(request.name)
    if not 0 < len(name) <= LONGEST or not name.isprintable() or "*" in name:
        raise RpcError(Code.INVALID_ARGUMENT, f"{clip(name)} is no identity: give its whole name", "UNKNOWN_NAME")
    if is_network(name):
        told = f"{clip(name)} is a network: give one address of it; what a whole network may do, its firewall decides"
        raise RpcError(Code.INVALID_ARGUMENT, told, "UNKNOWN_NAME")
    return name


def _model(request: Any) -> str:
    model = str(request.model)
    if len(model) > LONGEST or (model and not model.isprintable()):
        raise RpcError(Code.INVALID_ARGUMENT, f"{clip(model)} is no model: give its whole name", "UNKNOWN_NAME")
    return model


def _step(text: str) -> Step:
    if (step := next((step for step in STEPS if step == text), None)) is None:
        told = f"{clip(text)} is no step: give one of {', '.join(STEPS)}"
        raise RpcError(Code.INVALID_ARGUMENT, told, "UNKNOWN_STEP")
    return step


def _restriction(name: str, model: str, request: Any, by: str) -> Restriction:
    """Raises RpcError for what is no restriction, ProblemsFound."""
    step = _step(request.step)
    check_reason(model, request.reason)
    if not 0 < request.seconds <= MOST_SECONDS:
        what = f"{request.seconds:g} s is no time that a restriction can last"
        how = "Give a time of at most 7d; for longer, change detection.identities of the model, or access"
        raise ProblemsFound([Problem(what, where(name, model), how=how)])
    return Restriction(name, model, step, time.time() + request.seconds, by, request.reason)
