"""What is asked of the whole server over the admin API: its state, reloads, restarts, its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from msgspec.structs import replace

from modelward.admin.approving import Approving, Glass, glass_of
from modelward.admin.authorization import OperatorCall
from modelward.admin.messages import message, problems_of
from modelward.admin.operator import OperationResult, Operator, Replaced
from modelward.admin.proposal_calls import proposal_message
from modelward.admin.recorded import Recorded
from modelward.admin.status_message import reload_record, server_message, status_message
from modelward.admin.visible import visible
from modelward.distribution import release_of
from modelward.limits.callers import Caller
from modelward.problem import ProblemsFound
from modelward.rpc.protocol import Message

CALLERS, MOST_CALLERS = 20, 1000


class ServerCalls:
    """Methods of the admin API, as modelward.admin.service lists them. A restart goes on without its caller, until
    `stop`."""

    def __init__(self, server: Operator) -> None:
        self._server = server
        self._version = release_of("modelward")
        self._restarts: set[asyncio.Task[None]] = set()  # one, and those that are about to be refused

    def stop(self) -> None:
        for task in self._restarts:
            task.cancel()

    async def status(self, request: Any, call: OperatorCall) -> Message:
        status = visible(self._server.status(), call.sees)
        waiting = [model for model in status.waiting if call.may("proposals", model or None)]
        told: Any = status_message(replace(status, waiting=waiting), self._version)
        if request.fleet:
            try:
                for each in await self._server.fleet.servers():
                    models = [model for model in each.models if call.sees(model.model)]
                    told.fleet_servers.append(server_message(replace(each, models=models)))
            except ProblemsFound as found:
                told.fleet_problems.extend(problems_of(found.problems))
        return told

    async def identities(self, request: Any, call: OperatorCall) -> Message:
        callers = self._server.callers(min(request.most or CALLERS, MOST_CALLERS))
        return message(
            "IdentitiesResponse",
            refused=[_caller(each) for each in callers.refused],
            spending=[_caller(each) for each in callers.spending],
        )

    async def reload(self, request: Message, call: OperatorCall) -> Message:
        try:
            outcome, proposal = await Approving(self._server, call).reload(glass_of(request))
        except ProblemsFound as found:
            outcome, proposal = OperationResult(found.problems), None
        return message(
            "ReloadResponse",
            proposal=proposal_message(proposal) if proposal is not None else None,
            problems=problems_of(outcome.problems),
            generation=self._server.status().generation,
            changed=outcome.changed,
            needs_restart=outcome.needs_restart,
            last_change=reload_record(outcome.last_change),
        )

    async def drain(self, request: Message, call: OperatorCall) -> Message:
        try:
            begun = await Recorded(self._server, call.operator.actor).ask_to_drain(call.actor)
        except ProblemsFound as found:
            return message("DrainResponse", problems=problems_of(found.problems))
        return message(
            "DrainResponse",
            inflight=begun.inflight,
            connections=begun.connections,
            delay_seconds=begun.delay,
            timeout_seconds=begun.timeout,
        )

    async def restart(self, request: Message, call: OperatorCall) -> AsyncIterator[Message]:
        steps: asyncio.Queue[Replaced | OperationResult | Exception] = asyncio.Queue()  # one per worker, and the end
        approving, glass = Approving(self._server, call), glass_of(request)
        task = asyncio.get_running_loop().create_task(self._replace(steps, approving, glass))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)
        while isinstance(step := await steps.get(), Replaced):
            replaced = {"worker": step.number, "pid": step.pid, "before": step.before}
            yield message("RollingRestartResponse", replaced=replaced)
        if isinstance(step, Exception):
            raise step
        proposal = proposal_message(step.proposal) if step.proposal is not None else None
        yield message("RollingRestartResponse", done={"problems": problems_of(step.problems), "proposal": proposal})

    async def _replace(
        self, steps: asyncio.Queue[Replaced | OperationResult | Exception], approving: Approving, glass: Glass
    ) -> None:
        try:
            steps.put_nowait(await approving.restart(steps.put_nowait, glass))
        except ProblemsFound as found:
            steps.put_nowait(OperationResult(found.problems))
        except Exception as error:  # noqa: BLE001 - raised by the call, if it is still there
            steps.put_nowait(error)


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
