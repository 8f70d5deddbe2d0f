"""Messages of the admin API by their short names."""

from collections.abc import Iterable
from typing import Any

from modelward.problem import Problem
from modelward.rpc.protocol import Message, message_class

SERVICE = "modelward.admin.v1.Admin"


def message(kind: str, /, **fields: Any) -> Message:
    return message_class(f"modelward.admin.v1.{kind}")(**fields)


def problems_of(problems: Iterable[Problem]) -> list[Message]:
    return [message("Problem", **problem.as_json()) for problem in problems]
