"""What an operator asks for: done at once, or where others must agree, a proposal. `--break-glass` is in here too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from modelward.admin.authorization import OperatorCall
from modelward.admin.operator import OperationResult, Operator, PromotionStatus, Replaced
from modelward.admin.recorded import Recorded
from modelward.config.operators import Verb
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.asked import Wanted, check_reason
from modelward.status import clip
from modelward.upstream.breaker_override import BreakerOrder, BreakerOverride

if TYPE_CHECKING:
    from modelward.approvals.proposal import Ask, Proposal

HOW_GLASS = "Leave --break-glass out, and let others approve it; or ask who has a role of operators.break_glass"


class Glass(Struct, frozen=True):
    """reason: as the operator gives it. broken: whether it is to be done without approvals."""

    broken: bool = False
    reason: str = ""


class Approving:
    """One call's way to the server. Each method returns what was done, or None beside the proposal that was made; both
    where the glass was broken. All raise ProblemsFound."""

    def __init__(self, server: Operator, call: OperatorCall) -> None:
        self._server = server
        self._call = call
        self._recorded = Recorded(server, call.operator.actor)

    async def promote(self, wanted: Wanted, glass: Glass) -> tuple[PromotionStatus | None, Proposal | None]:
        needed = self._server.proposals.needed("force" if wanted.force else "promote", wanted.model)
        if not needed:
            return await self._recorded.promote(wanted), None
        self._check("promote", glass, wanted.model)
        proposal = await self._ask(await self._promotable(wanted), needed, glass)
        return self._promotion(wanted.model, glass), proposal

    async def rollback(self, model: str, glass: Glass) -> tuple[PromotionStatus | None, Proposal | None]:
        needed = self._server.proposals.needed("rollback", model)
        if not needed:
            return await self._recorded.rollback(model, glass.reason, self._call.actor), None
        self._check("rollback", glass, model)
        proposal = await self._ask(self._server.proposals.rollback(model, glass.reason), needed, glass)
        return self._promotion(model, glass), proposal

    async def pardon(self, model: str, version: str, glass: Glass) -> tuple[Sequence[tuple[str, str]], Proposal | None]:
        needed = self._server.proposals.needed("pardon", model)
        if not needed:
            return await self._recorded.pardon(model, version or None, self._call.actor), None
        self._check("pardon", glass, model)
        ask = self._server.proposals.pardon(model, version, glass.reason)
        return (), await self._ask(ask, needed, glass)

    async def accept(self, model: str, version: str, glass: Glass) -> tuple[Sequence[tuple[str, str]], Proposal | None]:
        needed = self._server.proposals.needed("accept", model)
        if not needed:
            return await self._recorded.accept(model, version, self._call.actor, reason=glass.reason), None
        self._check("accept", glass, model)
        ask = self._server.proposals.accept(model, version, glass.reason)
        return (), await self._ask(ask, needed, glass)

    async def breaker(
        self, order: BreakerOrder, glass: Glass
    ) -> tuple[Sequence[BreakerOverride] | None, Proposal | None]:
        needed = self._server.proposals.needed("breaker", order.model)
        if not needed:
            return await self._recorded.breaker(order, self._call.actor), None
        self._check("breaker", glass, order.model)
        self._server.breakers.check(order)
        proposal = await self._ask(self._server.proposals.breaker(order), needed, glass)
        return self._server.breakers.of(order.model) if glass.broken else None, proposal

    async def restart(self, replaced: Callable[[Replaced], None], glass: Glass) -> OperationResult:
        needed = self._server.proposals.needed("restart")
        if not needed:
            return await self._recorded.restart(replaced, self._call.actor)
        self._check("restart", glass, None)
        ask = self._server.proposals.restart(glass.reason)
        return OperationResult(proposal=await self._ask(ask, needed, glass))

    async def reload(self, glass: Glass) -> tuple[OperationResult, Proposal | None]:
        """The repository is followed in any case."""
        self._check("reload", glass, None)
        result = await self._recorded.reload(self._call.actor, self._call.may("bindings"))
        if result.proposal is None:
            return result, None
        proposals, by = self._server.proposals, self._call.operator.actor
        if not glass.broken:
            return result, await proposals.claimed(result.proposal, by, glass.reason)
        ask = structs.replace(result.proposal.ask, reason=glass.reason)
        return result, _executed(await proposals.desk.break_glass(ask, by, self._call.demand))

    async def _ask(self, ask: Ask, needed: int, glass: Glass) -> Proposal:
        check_reason(ask.model, ask.reason)
        by, desk = self._call.operator.actor, self._server.proposals.desk
        if glass.broken:
            return _executed(await desk.break_glass(ask, by))
        return await desk.propose(ask, by, needed)

    async def _promotable(self, wanted: Wanted) -> Ask:
        """What is proposed. Where it is refused, that is on record."""
        try:
            return await self._server.proposals.promotion(wanted)
        except ProblemsFound as found:
            from modelward.audit.record import human  # noqa: PLC0415 - only where approvals are configured

            problems = tuple(each.as_json() for each in found.problems)
            about = {"model": clip(wanted.model), "version": clip(wanted.version), "reason": clip(wanted.why)}
            by = self._call.operator.actor
            self._server.trail.note(human("proposal.open", by, result="refused", problems=problems, **about))
            raise

    def _check(self, verb: Verb, glass: Glass, model: str | None) -> None:
        """Whether the operator may break the glass. That they may not is a denied call."""
        if not glass.broken:
            return
        where = "operators.break_glass"
        if not self._call.rights.breaks_glass(self._call.operator, model):
            what = f"{self._call.operator.name} has no role that may act without approvals"
            self._call.denied(verb, what, model)
            raise ProblemsFound([Problem(what, where, how=HOW_GLASS)])
        if not glass.reason:
            what = "the glass is not broken without a reason"
            raise ProblemsFound([Problem(what, where, how="Say why: --break-glass --reason TEXT")])

    def _promotion(self, model: str, glass: Glass) -> PromotionStatus | None:
        if not glass.broken:
            return None
        return next((each for each in self._server.status().promotions if each.model == model), None)


def _executed(proposal: Proposal) -> Proposal:
    """Raises ProblemsFound where its execution has failed."""
    if proposal.state == "failed":
        what = f"proposal {proposal.number} was executed and failed"
        raise ProblemsFound([Problem(what, proposal.ask.model or "server", proposal.why, "Mend it, and ask again")])
    return proposal


def glass_of(request: Any) -> Glass:
    return Glass(request.break_glass, request.reason)
