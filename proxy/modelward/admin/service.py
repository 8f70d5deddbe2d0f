"""The methods of modelward.admin.v1.Admin: an operator's answers as messages, errors from a closed list."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from functools import wraps
from importlib.metadata import version
from typing import Any

from modelward.admin.approving import Approving, Glass, glass_of
from modelward.admin.authorization import Authorization, OperatorCall
from modelward.admin.limit_calls import LimitCalls, limit_messages
from modelward.admin.messages import SERVICE, message
from modelward.admin.messages import problems_of as _problems
from modelward.admin.operator import NotNow, OperationResult, Operator, PromotionStatus, ReloadRecord, Replaced, Status
from modelward.admin.own_rights import can_i, who_am_i
from modelward.admin.proposal_calls import ProposalCalls, proposal_message
from modelward.admin.recorded import Recorded
from modelward.admin.visible import visible
from modelward.approvals.proposal import Proposal
from modelward.limits.callers import Caller
from modelward.models.weights import fractions
from modelward.problem import ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.promotion.state import Event
from modelward.rpc.call import Method
from modelward.rpc.protocol import Code, Message, RpcError, message_class, pool
from modelward.server.containment import caller_name, words
from modelward.server.report import COLUMNS, Report

CALLERS, MOST_CALLERS = 20, 1000
AT_ONCE = ("Status", "Identities")  # answered without waiting for anything
INTERNAL = "internal error; the server's log says more"

log = logging.getLogger("modelward.admin")

__all__ = ["SERVICE", "Service", "message"]

Context = Any  # modelward.admin.server.Context
Unary = Callable[[Message, Context], Awaitable[Message]]
Streaming = Callable[[Message, Context], AsyncIterator[Message]]
UnaryOf = Callable[[Any, OperatorCall], Awaitable[Message]]
StreamingOf = Callable[[Any, OperatorCall], AsyncIterator[Message]]


def _caller(caller: Caller) -> Message:
    ago = -1.0 if caller.refused_ago is None else caller.refused_ago
    return message(
        "Caller",
        kind=caller.kind,
        name=caller.name,
        refused={level: count for level, count in caller.refused.items() if count},
        requests=caller.requests,
        spent_seconds=caller.spent_seconds,
        refused_ago=ago,
    )


class Service:
    """Whatever a call has begun is finished without its caller too; a restart until `stop`."""

    def __init__(self, operator: Operator, authorization: Authorization) -> None:
        self._operator = operator
        self._authorization = authorization
        self._proposals = ProposalCalls(operator)
        self._limits = LimitCalls(operator)
        self._version = version("modelward")
        self._restarts: set[asyncio.Task[None]] = set()  # one, and those that are about to be refused
        self.at_once = {_path(name) for name in AT_ONCE}

    def methods(self) -> dict[bytes, Method]:
        """By path, for modelward.server.methods.Dispatcher."""
        own = self._authorization
        unary: dict[str, UnaryOf] = {
            "Status": self._status,
            "Reload": self._reload,
            "Promote": self._promote,
            "Rollback": self._rollback,
            "Shadows": self._shadows,
            "Pardon": self._pardon,
            "Drain": self._drain,
            "SetLimit": self._limits.set,
            "UnsetLimit": self._limits.unset,
            "Identities": self._identities,
            "WhoAmI": who_am_i,
            "CanI": can_i,
            "Proposals": self._proposals.proposals,
            "Approve": self._proposals.approve,
            "Reject": self._proposals.reject,
            "Review": self._proposals.review,
        }
        streaming: dict[str, StreamingOf] = {"RollingRestart": self._rolling_restart}
        rows = {name: _row(name, _answered(own.unary(name, method))) for name, method in unary.items()}
        rows |= {name: _row(name, _streamed(own.streaming(name, method))) for name, method in streaming.items()}
        return {_path(name): row for name, row in rows.items()}

    def _as(self, call: OperatorCall) -> Approving:
        """Through it, what is asked for is recorded, and waits where others must approve it."""
        return Approving(self._operator, call)

    def stop(self) -> None:
        for task in self._restarts:
            task.cancel()

    async def _status(self, request: Message, call: OperatorCall) -> Message:
        return _status_message(visible(self._operator.status(), call.sees), self._version)

    async def _identities(self, request: Any, call: OperatorCall) -> Message:
        callers = self._operator.callers(min(request.most or CALLERS, MOST_CALLERS))
        return message(
            "IdentitiesResponse",
            refused=[_caller(each) for each in callers.refused],
            spending=[_caller(each) for each in callers.spending],
        )

    async def _reload(self, request: Message, call: OperatorCall) -> Message:
        try:
            outcome, proposal = await self._as(call).reload(glass_of(request))
        except ProblemsFound as found:
            outcome, proposal = OperationResult(found.problems), None
        return message(
            "ReloadResponse",
            proposal=proposal_message(proposal) if proposal is not None else None,
            problems=_problems(outcome.problems),
            generation=self._operator.status().generation,
            changed=outcome.changed,
            needs_restart=outcome.needs_restart,
            last_change=_record(outcome.last_change),
        )

    async def _promote(self, request: Any, call: OperatorCall) -> Message:
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
        return await self._promotion(self._as(call).promote(wanted, glass_of(request)))

    async def _rollback(self, request: Any, call: OperatorCall) -> Message:
        return await self._promotion(self._as(call).rollback(request.model, glass_of(request)))

    async def _promotion(self, work: Coroutine[Any, Any, tuple[PromotionStatus | None, Proposal | None]]) -> Message:
        try:
            status, proposed = await work
        except ProblemsFound as found:
            return message("PromotionResponse", problems=_problems(found.problems))
        proposal = proposal_message(proposed) if proposed is not None else None
        if status is None:
            return message("PromotionResponse", proposal=proposal)
        promotion, warnings = _promotion_message(status), _problems(status.warnings)
        told = {"promotion": promotion, "warnings": warnings, "unsaved": status.unsaved, "proposal": proposal}
        return message("PromotionResponse", **told)

    async def _shadows(self, request: Any, call: OperatorCall) -> Message:
        try:
            told = await self._operator.shadows(request.model)
        except ProblemsFound as found:
            return message("ShadowsResponse", problems=_problems(found.problems))
        return message("ShadowsResponse", reports=[json.dumps(each, allow_nan=False) for each in told])

    async def _pardon(self, request: Any, call: OperatorCall) -> Message:
        work = self._as(call).pardon(request.model, request.version, glass_of(request))
        try:
            pardoned, proposed = await work
        except ProblemsFound as found:
            return message("PardonResponse", problems=_problems(found.problems))
        return message(
            "PardonResponse",
            pardoned=[{"model": name, "version": version} for name, version in pardoned],
            proposal=proposal_message(proposed) if proposed is not None else None,
        )

    async def _drain(self, request: Message, call: OperatorCall) -> Message:
        try:
            begun = await Recorded(self._operator, call.operator.actor).ask_to_drain(call.actor)
        except ProblemsFound as found:
            return message("DrainResponse", problems=_problems(found.problems))
        return message(
            "DrainResponse",
            inflight=begun.inflight,
            connections=begun.connections,
            delay_seconds=begun.delay,
            timeout_seconds=begun.timeout,
        )

    async def _rolling_restart(self, request: Message, call: OperatorCall) -> AsyncIterator[Message]:
        steps: asyncio.Queue[Replaced | OperationResult | Exception] = asyncio.Queue()  # one per worker, and the end
        approving, glass = self._as(call), glass_of(request)
        task = asyncio.get_running_loop().create_task(self._restart(steps, approving, glass))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)
        while isinstance(step := await steps.get(), Replaced):
            replaced = {"worker": step.number, "pid": step.pid, "before": step.before}
            yield message("RollingRestartResponse", replaced=replaced)
        if isinstance(step, Exception):
            raise step
        proposal = proposal_message(step.proposal) if step.proposal is not None else None
        yield message("RollingRestartResponse", done={"problems": _problems(step.problems), "proposal": proposal})

    async def _restart(
        self, steps: "asyncio.Queue[Replaced | OperationResult | Exception]", approving: Approving, glass: Glass
    ) -> None:
        try:
            steps.put_nowait(await approving.restart(steps.put_nowait, glass))
        except ProblemsFound as found:
            steps.put_nowait(OperationResult(found.problems))
        except Exception as error:  # noqa: BLE001 - raised by the call, if it is still there
            steps.put_nowait(error)


def _path(name: str) -> bytes:
    return f"/{SERVICE}/{name}".encode()


def _row(name: str, handler: Any) -> Method:
    described = pool().FindServiceByName(SERVICE).methods_by_name[name]
    return Method(
        request=message_class(described.input_type.full_name),
        response=message_class(described.output_type.full_name),
        request_streaming=described.client_streaming,
        response_streaming=described.server_streaming,
        handler=handler,
        kind=0,
    )


def _answered(method: Unary) -> Unary:
    @wraps(method)
    async def answer(request: Message, context: Context) -> Message:
        try:
            return await method(request, context)
        except Exception as error:  # noqa: BLE001 - a client is not told what it was
            raise _ending(error) from None

    return answer


def _streamed(method: Streaming) -> Callable[[Message, Context], AsyncGenerator[Message, None]]:
    @wraps(method)
    async def answer(request: Message, context: Context) -> AsyncGenerator[Message, None]:
        try:
            async for each in method(request, context):
                yield each
        except Exception as error:  # noqa: BLE001 - a client is not told what it was
            raise _ending(error) from None

    return answer


def _ending(error: Exception) -> RpcError:
    """Status and text of a call that has failed."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, NotNow):
        return RpcError(Code.FAILED_PRECONDITION, str(error), "NOT_NOW")
    log.error("an admin call failed", exc_info=error)
    return RpcError(Code.INTERNAL, INTERNAL, "INTERNAL")


def _record(record: ReloadRecord | None) -> Message | None:
    if record is None:
        return None
    problems = _problems(record.problems)
    return message("ReloadRecord", at=record.at, actor=record.by, changed=record.changed, problems=problems)


def _status_message(status: Status, version_of_modelward: str) -> Message:
    return message(
        "StatusResponse",
        version=version_of_modelward,
        pid=os.getpid(),
        uptime_seconds=status.uptime_seconds,
        state=status.state,
        generation=status.generation,
        grpc=str(status.grpc),
        http=str(status.http),
        limits_store=status.limits_store,
        workers=[
            message(
                "Worker",
                worker=each.number,
                pid=each.pid,
                state=each.state,
                age_seconds=each.age_seconds,
                connections=each.connections,
                inflight=each.inflight,
            )
            for each in status.workers
        ],
        models=_models(status.report, status) if status.report else [],
        promotions=[_promotion_message(each) for each in status.promotions],
        refused=[
            message("Refused", name=each.name, version=each.version, problems=_problems(each.problems), kept=each.kept)
            for each in (status.report.refused if status.report else ())
        ],
        contained=[
            {
                "model": each.model,
                "version": each.version,
                "shapes": [words(dims) for dims in each.shapes],
                "out_of_service": each.wholly,
                "runs_alone": each.alone,
                "callers": [
                    {
                        "caller": caller_name(caller.key, status.callers),
                        "shapes": [words(dims) for dims in caller.shapes],
                        "refused": caller.wholly,
                        "deaths": caller.deaths,
                    }
                    for caller in each.callers
                ],
            }
            for each in status.contained
        ],
        events=[_event_message(each) for each in status.events],
        state_unsaved=status.unsaved,
        temporary_limits=limit_messages(status.temporary_limits),
        refused_reload=_record(status.refused_reload),
        audit=status.audit,
        upstreams=[
            message(
                "Upstream",
                address=address,
                connected=each.connected,
                available=each.available,
                inflight=each.inflight,
                breakers=each.breaker,
            )
            for address, each in sorted(status.stats.endpoints.items())
        ],
    )


def _promotion_message(status: PromotionStatus) -> Message:
    known, promotion, event = status.known, status.known.promotion, status.known.event
    traffic = known.traffic
    return message(
        "Promotion",
        model=status.model,
        version=promotion.version,
        phase=promotion.phase,
        percent=promotion.percent,
        steps=promotion.steps,
        auto=promotion.auto,
        since=promotion.since,
        why=event.why if event else "",
        actor=event.actor if event else "",
        forced=promotion.forced,
        by=known.by,
        requests=traffic.requests if traffic else 0,
        all_requests=traffic.total if traffic else 0,
        callers=traffic.callers if traffic else 0,
        bounds=[
            message(
                "Bound",
                bound=each.bound,
                decision=str(each.decision),
                words=each.words_and_way,
                answers=each.answers,
                needed=each.needed,
            )
            for each in known.findings
        ],
    )


def _event_message(event: Event) -> Message:
    return message("Event", **event.model_dump())


def _models(report: Report, status: Status) -> list[Message]:
    """One per row. Versions of a model stand in ascending order there."""
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in report.rows]
    models = []
    for row in rows:
        name, number = row.pop("model"), row.pop("version")
        share = fractions(report.versions[name], status.weights.get(name))[number]
        words = {column.replace(" ", "_"): text for column, text in row.items()}
        failing = status.failing.get((name, number), 0)
        words["version_policy"] = status.policies.get(name, "")
        if (facts := report.facts.get(name, {}).get(number)) is not None:
            words |= {"digest": facts.digest, "signer": facts.signer, "unverified": facts.doubt}
            words["changed_files"] = status.changed_files.get((name, number), "")
        other = {"failing_canary": failing, "unnamed": facts is not None and facts.unnamed}
        models.append(message("Model", name=name, version=number, share=share, **other, **words))
    return models
