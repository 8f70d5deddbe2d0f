"""Every call of the admin API goes through here: who calls, may they, and then the method, which is told who it is."""

from __future__ import annotations

import logging
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from msgspec import Struct

from modelward.admin.actor import actor_of, certified
from modelward.admin.context import Context
from modelward.admin.needs import NEEDS, Need
from modelward.audit.record import Actor, automatic
from modelward.audit.recorder import Recorder
from modelward.config.address import Address
from modelward.config.operators import Operators, Verb
from modelward.operators.authenticate import HEADER, Authenticator, Shown, unproved
from modelward.operators.denials import Denials
from modelward.operators.identity import Operator, Unauthenticated
from modelward.operators.rights import Decision, Rights
from modelward.rpc.protocol import Code, Message, RpcError, clip
from modelward.telemetry.snapshot import OperatorsSnapshot

log = logging.getLogger("modelward.operators")

LONGEST_ISSUER = 512

Unary = Callable[[Any, "OperatorCall"], Awaitable[Message]]
Streaming = Callable[[Any, "OperatorCall"], AsyncIterator[Message]]


class OperatorCall(Struct, frozen=True):
    """A call that was let in, as methods get it. actor: who asks, in words, as events tell it."""

    operator: Operator
    actor: str
    rights: Rights
    denials: Denials

    def may(self, verb: Verb, model: str | None = None) -> bool:
        """model: None for what concerns the whole server."""
        return self.rights.may(self.operator, verb, model).allowed

    def demand(self, verb: Verb, model: str | None = None) -> None:
        """Raises RpcError where the operator may not: PERMISSION_DENIED, counted and recorded."""
        self.demand_decided(verb, self.rights.may(self.operator, verb, model), model)

    def demand_decided(self, verb: Verb, decision: Decision, model: str | None = None) -> None:
        if decision.allowed:
            return
        why = _denied(self.operator, verb, model, decision, self.rights)
        self.denied(verb, why, model)
        raise RpcError(Code.PERMISSION_DENIED, why, "DENIED")

    def denied(self, verb: Verb, why: str, model: str | None = None) -> None:
        """Counts and records it."""
        binding = self.rights.binding(self.operator)
        self.denials.add(verb, "denied", self.operator.actor, why, model or "", binding=binding)

    @property
    def sees(self) -> Callable[[str | None], bool]:
        """Tells of a model, or of the whole server (None), whether the operator may see its state."""
        return self.rights.seen(self.operator)


class Authorization:
    """Of one configuration after the other. A call under way keeps the rights that it began with."""

    def __init__(self, operators: Operators | None, recorder: Recorder) -> None:
        """Raises ProblemsFound."""
        self.denials = Denials(recorder)
        self._recorder = recorder
        self.authenticator: Authenticator | None = None
        self.rights = Rights(None)
        self.prepare(operators)()

    def prepare(self, operators: Operators | None) -> Callable[[], None]:
        """What makes calls from then on be judged by `operators`. Reads files. Raises ProblemsFound."""
        authenticator = Authenticator(operators, self._keys_changed) if operators is not None else None
        rights = Rights(operators)

        def follow() -> None:
            self.authenticator, self.rights = authenticator, rights

        return follow

    def _keys_changed(self, issuer: str) -> None:
        self._recorder.note(automatic("keys.set_changed", object=issuer))

    def stats(self) -> OperatorsSnapshot:
        failures = self.authenticator.key_set_failures if self.authenticator is not None else 0
        return OperatorsSnapshot(dict(self.denials.counts), failures)

    def unary(self, name: str, method: Unary) -> Callable[[Message, Context], Awaitable[Message]]:
        async def answer(request: Message, context: Context) -> Message:
            return await method(request, await self._let_in(name, request, context))

        return answer

    def streaming(self, name: str, method: Streaming) -> Callable[[Message, Context], AsyncIterator[Message]]:
        async def answer(request: Message, context: Context) -> AsyncIterator[Message]:
            async for each in method(request, await self._let_in(name, request, context)):
                yield each

        return answer

    async def _let_in(self, name: str, request: Any, context: Context) -> OperatorCall:
        """Raises RpcError."""
        need, origin = NEEDS[name], _origin(context)
        authenticator, rights = self.authenticator, self.rights  # of one configuration, whatever is followed meanwhile
        try:
            shown = _shown(context, origin)
            if authenticator is None:
                operator = unproved(shown, certified(shown.certificate), actor_of(context))
            else:
                if context.repeats(HEADER):  # a proxy may have checked another one than we would
                    raise Unauthenticated(f"more than one {HEADER} came with the call; send one")
                operator = await authenticator.identify(shown)
        except Unauthenticated as refused:
            raise self._unproved(need, origin, str(refused)) from None
        except Exception as error:  # strangers send it: refused, told and counted like all others
            log.debug("a credential cannot be read", exc_info=True)
            raise self._unproved(need, origin, f"the credential cannot be read ({type(error).__name__})") from None
        actor = operator.words if operator.proof == "token" else actor_of(context)
        call = OperatorCall(operator, actor, rights, self.denials)
        _demand(need, request, call)
        return call

    def _unproved(self, need: Need, origin: str, why: str) -> RpcError:
        unknown = Actor(name=origin.rpartition(":")[0], proof="address", origin=origin)
        self.denials.add(need.verb or "whoami", "unauthenticated", unknown, why)
        return RpcError(Code.UNAUTHENTICATED, why, "UNAUTHENTICATED")


def _demand(need: Need, request: Any, call: OperatorCall) -> None:
    if need.verb is None:
        return
    match need.of:
        case "model":
            call.demand(need.verb, request.model)
        case "server":
            call.demand(need.verb)
        case "seen":
            call.demand_decided(need.verb, call.rights.may_for_any(call.operator, need.verb))


def _shown(context: Context, origin: str) -> Shown:
    uid = context.uid()
    return Shown(
        origin=origin,
        certificate=context.certificate(),
        issuer=context.issuer()[:LONGEST_ISSUER],
        not_after=context.not_after(),
        uid=uid,
        user=_user(uid) if uid is not None else "",
        gids=context.gids(),
        authorization=context.metadata().get(HEADER),
    )


def _origin(context: Context) -> str:
    ends = context.ends()
    return "unix:" if ends is None else str(Address(host=ends[0][0], port=ends[0][1]))


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _denied(operator: Operator, verb: str, model: str | None, decision: Decision, rights: Rights) -> str:
    """Who asked, for what, what it would take, and whom to ask. Those without a role learn no names."""
    of = f" of model {clip(model)}" if model else ""
    needed = f"It takes {' or '.join(decision.roles)}"
    ask = "ask an administrator"
    if rights.grants(operator) and (names := rights.administrators()):
        ask = f"ask {' or '.join(names)}"
    return f"{verb}{of} is not allowed: {decision.why}. {needed}: {ask}"
