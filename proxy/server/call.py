"""What a cold method may know of its call, and the shapes of its handler."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.server.protocol import Message


class Call(Protocol):
    """Lent by the data plane for as long as the handler runs."""

    @property
    def peer(self) -> str:
        """The client's address: "127.0.0.1:50312", "[::1]:50312" or "unix:"."""

    @property
    def metadata(self) -> dict[str, str]:
        """Request headers by lower-case name, without pseudo-headers and binary (-bin) ones."""


# One request message, or the stream of them where the method's request is streaming.
Requests = Any
UnaryHandler = Callable[[Requests, Call], Awaitable[Message]]
StreamHandler = Callable[[Requests, Call], AsyncGenerator[Message, None]]


@dataclass(frozen=True)
class Method:
    """One row of the method table; everything but the handler comes from the service's descriptor."""

    request: type[Message]
    response: type[Message]
    request_streaming: bool
    response_streaming: bool
    handler: UnaryHandler | StreamHandler
