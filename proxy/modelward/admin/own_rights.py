"""What operators may ask about themselves: who they are, and what they may do."""

from collections.abc import Callable, Iterable
from typing import Any, get_args

from modelward.admin.authorization import OperatorCall
from modelward.admin.messages import message
from modelward.config.approvals import ApprovedVerb
from modelward.config.changes import is_of_rights
from modelward.config.operators import VERBS
from modelward.operators.rights import Decision
from modelward.operators.verbs import OF_SERVER
from modelward.rpc.protocol import Code, Message, RpcError, clip

APPROVED = get_args(ApprovedVerb)


async def who_am_i(needs_restart: Callable[[], Iterable[str]], request: Any, call: OperatorCall) -> Message:
    """needs_restart: keys that a reload found changed, and that it could not follow."""
    operator, rights = call.operator, call.rights
    grants = [grant.binding for grant in rights.grants(operator)]
    return message(
        "WhoAmIResponse",
        name=operator.name,
        proof=operator.proof,
        issuer=operator.issuer,
        origin=operator.origin,
        configured=rights.configured,
        break_glass=rights.breaks_glass_for_any(operator),
        grants=[{"binding": each.words, "roles": each.roles, "models": each.models} for each in grants],
        needs_restart=_of_rights(needs_restart()),
    )


async def can_i(
    needed: Callable[[Any, str], int], needs_restart: Callable[[], Iterable[str]], request: Any, call: OperatorCall
) -> Message:
    """needed: approvals, by verb and model. needs_restart: as who_am_i. Raises RpcError where there is no such verb."""
    if request.verb and request.verb not in VERBS:
        raise RpcError(Code.INVALID_ARGUMENT, f"there is no verb {clip(request.verb)}", "UNKNOWN_VERB")
    asked = [request.verb] if request.verb else VERBS
    rights = [_right(verb, request.model, call, needed) for verb in asked]
    return message("CanIResponse", rights=rights, needs_restart=_of_rights(needs_restart()))


def _of_rights(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if is_of_rights(key)]


def _right(verb: str, model: str, call: OperatorCall, needed: Callable[[Any, str], int]) -> dict[str, Any]:
    operator, rights = call.operator, call.rights
    decision: Decision
    if verb in OF_SERVER:
        decision = rights.may(operator, verb)
    elif model:
        decision = rights.may(operator, verb, model)
    else:
        decision = rights.may_for_any(operator, verb)
    return {
        "verb": verb,
        "allowed": decision.allowed,
        "roles": decision.roles,
        "why": decision.why,
        "models": rights.models(operator, verb) if decision.allowed else (),
        "approvals": needed(verb, model) if decision.allowed and verb in APPROVED else 0,
    }
