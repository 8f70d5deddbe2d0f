"""Messages of the admin API by their short names."""

from typing import Any

from modelward.rpc.protocol import Message, message_class

SERVICE = "modelward.admin.v1.Admin"


def message(kind: str, /, **fields: Any) -> Message:
    return message_class(f"modelward.admin.v1.{kind}")(**fields)
