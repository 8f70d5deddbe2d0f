"""What a cold method may know of its call, and the shapes of its handler."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol

from msgspec import Struct

from modelward.rpc.protocol import Message, request_class


class Call(Protocol):
    """Lent by the data plane for as long as the handler runs."""

    @property
    def peer(self) -> str:
        """The client's address: "127.0.0.1:50312", "[::1]:50312" or "unix:"."""

    @property
    def peer_key(self) -> int:
        """Of the client's address without its port, or of the one that a trusted proxy has told: what budgets go by."""

    @property
    def metadata(self) -> dict[str, str]:
        """Request headers by lower-case name, without pseudo-headers and binary (-bin) ones."""

    @property
    def identity(self) -> str:
        """Who calls, as a header tells it; empty without `access`, or where a rule lets anonymous callers in."""

    @property
    def identity_kind(self) -> str:
        """How that was proved: certificate, token or key; empty with it."""

    @property
    def may_prove_itself(self) -> bool:
        """Whether upstreams would see a credential of the client, had it sent one."""

    def permits(self, kind: int, model: str | None = None) -> bool:
        """Whether the caller may call methods of this kind (0: any) on a model (None: any)."""


# One request message, or the stream of them where the method's request is streaming.
Requests = Any
UnaryHandler = Callable[[Requests, Call], Awaitable[Message]]
StreamHandler = Callable[[Requests, Call], AsyncGenerator[Message, None]]


class Method(Struct, frozen=True):
    """One row of the method table; `build` is held against the descriptors by a test, since they are read late."""

    service: str
    name: str
    request_streaming: bool
    response_streaming: bool
    handler: UnaryHandler | StreamHandler
    kind: int
    """What callers must be permitted, a bit of modelward_native.access.identities.PERMITS; 0: open to everybody."""

    @property
    def request(self) -> type[Message]:
        return request_class(self.service, self.name)
