"""Captured requests, as a call of the admin API: who may read them is told where they lie, and that is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelward.admin.authorization import OperatorCall
from modelward.admin.messages import message, problems_of
from modelward.admin.operator import Operator
from modelward.audit.action import recorded
from modelward.audit.record import human
from modelward.config.operators import LONGEST
from modelward.problem import Problem, ProblemsFound
from modelward.rpc.protocol import Code, Message, RpcError, clip

ACTIONS = ("list", "show", "label", "export", "who")
MOST_ASKED = 1000


class CaptureCalls:
    """Methods of the admin API, as modelward.admin.service lists them."""

    def __init__(self, server: Operator) -> None:
        self._server = server

    async def open(self, request: Any, call: OperatorCall) -> Message:
        if request.action not in ACTIONS:
            text = f"{clip(request.action)} is nothing that can be done with captured requests: {', '.join(ACTIONS)}"
            raise RpcError(Code.INVALID_ARGUMENT, text, "UNKNOWN_ACTION")
        if len(request.who) > MOST_ASKED or any(len(each) > LONGEST or not each.isprintable() for each in request.who):
            text = f"give up to {MOST_ASKED} names or hashes of at most {LONGEST} characters"
            raise RpcError(Code.INVALID_ARGUMENT, text, "UNKNOWN_NAME")
        asked = human(f"capture.{request.action}", call.operator.actor, model=request.model)

        async def found() -> Path | str:
            folder = self._server.capture_folder(request.model)
            if request.action == "who":  # drift tells hashes too, also where nothing is captured
                return folder or ""
            if folder is None:
                how = f"Set models.{request.model}.capture: {{}}; with --folder DIR older files can be read"
                raise ProblemsFound(
                    [Problem("requests of the model are not captured", f"model {request.model}", how=how)]
                )
            return folder

        try:
            folder = await recorded(self._server.trail, asked, found)
        except ProblemsFound as problems:
            return message("OpenCaptureResponse", problems=problems_of(problems.problems))
        return message("OpenCaptureResponse", folder=str(folder), who=self._server.observed([*request.who]))
