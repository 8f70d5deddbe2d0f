"""What is asked of models over the admin API: promotions, reports on shadows and drift, pardons, drift accepted."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from modelward.admin.approving import Approving, glass_of
from modelward.admin.authorization import OperatorCall
from modelward.admin.messages import message, problems_of
from modelward.admin.operator import Operator, PromotionStatus
from modelward.admin.proposal_calls import proposal_message
from modelward.admin.status_message import promotion_message
from modelward.problem import ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.rpc.protocol import Message

if TYPE_CHECKING:
    from modelward.approvals.proposal import Proposal

SIDES = ("inputs", "outputs", "training")


class ModelCalls:
    """Methods of the admin API, as modelward.admin.service lists them."""

    def __init__(self, server: Operator) -> None:
        self._server = server

    async def promote(self, request: Any, call: OperatorCall) -> Message:
        if request.force:
            call.demand("force", request.model)
        steps = tuple(request.steps) or None
        wanted = Wanted(
            request.model,
            request.version,
            steps,
            request.auto,
            request.force,
            request.reason,
            call.actor,
            tuple(request.without),
        )
        return await self._promotion(Approving(self._server, call).promote(wanted, glass_of(request)))

    async def rollback(self, request: Any, call: OperatorCall) -> Message:
        return await self._promotion(Approving(self._server, call).rollback(request.model, glass_of(request)))

    async def _promotion(self, work: Coroutine[Any, Any, tuple[PromotionStatus | None, Proposal | None]]) -> Message:
        try:
            status, proposed = await work
        except ProblemsFound as found:
            return message("PromotionResponse", problems=problems_of(found.problems))
        proposal = proposal_message(proposed) if proposed is not None else None
        if status is None:
            return message("PromotionResponse", proposal=proposal)
        promotion, warnings = promotion_message(status), problems_of(status.warnings)
        told = {"promotion": promotion, "warnings": warnings, "unsaved": status.unsaved, "proposal": proposal}
        return message("PromotionResponse", **told)

    async def shadows(self, request: Any, call: OperatorCall) -> Message:
        try:
            told = await self._server.shadows(request.model)
        except ProblemsFound as found:
            return message("ShadowsResponse", problems=problems_of(found.problems))
        return message("ShadowsResponse", reports=[json.dumps(each, allow_nan=False) for each in told])

    async def drift(self, request: Any, call: OperatorCall) -> Message:
        if request.model:
            call.demand("report", request.model)
        try:
            told = await self._server.drift.report(request.model)
        except ProblemsFound as found:
            return message("DriftResponse", problems=problems_of(found.problems))
        seen = [each for each in told if call.may("report", each["model"])]
        return message("DriftResponse", reports=[json.dumps(each, allow_nan=False) for each in seen])

    async def pardon(self, request: Any, call: OperatorCall) -> Message:
        work = Approving(self._server, call).pardon(request.model, request.version, glass_of(request))
        try:
            pardoned, proposed = await work
        except ProblemsFound as found:
            return message("PardonResponse", problems=problems_of(found.problems))
        return message(
            "PardonResponse",
            pardoned=[{"model": name, "version": version} for name, version in pardoned],
            proposal=proposal_message(proposed) if proposed is not None else None,
        )

    async def accept_drift(self, request: Any, call: OperatorCall) -> Message:
        work = Approving(self._server, call).accept(request.model, request.version, glass_of(request))
        try:
            accepted, proposed = await work
        except ProblemsFound as found:
            return message("AcceptDriftResponse", problems=problems_of(found.problems))
        stays = _alarms(await self._server.drift.report(request.model)) if accepted else {}
        return message(
            "AcceptDriftResponse",
            accepted=[
                {"model": name, "version": version, "stays": stays.get((name, version), ())}
                for name, version in accepted
            ],
            proposal=proposal_message(proposed) if proposed is not None else None,
        )


def _alarms(reports: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """By model and version, the sides that have one."""
    return {
        (each["model"], each["version"]): [side for side in SIDES if (each.get(side) or {}).get("state") == "moved"]
        for each in reports
    }
