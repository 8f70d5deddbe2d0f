"""grpc.health.v1 (grpc/grpc doc/health-checking.md): Check for probes, Watch for clients that balance load."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing

from modelward.rpc.call import Call
from modelward.rpc.protocol import (
    HEALTH_SERVICE,
    INFERENCE_SERVICE,
    SERVICES,
    Code,
    Message,
    RpcError,
    clip,
    message_class,
)
from modelward.server.readiness import Readiness

# "" is the server as a whole. Models are no gRPC services: ModelReady answers for them.
KNOWN_SERVICES = frozenset(("", *SERVICES))
# messages of one field, encoded: protobuf is not imported for probes
SERVING, NOT_SERVING, TRUE = b"\x08\x01", b"\x08\x02", b"\x08\x01"


def prepared(ready: bool) -> dict[bytes, dict[bytes, bytes]]:
    """Answers to probes, framed, by path and message: of the server, and of its services as long as it is as it is now.

    A message that is written in another way, or asks for what is not known, is for the coroutines below.
    """
    status = _framed(SERVING if ready else NOT_SERVING)
    return {
        f"/{HEALTH_SERVICE}/Check".encode(): {_asked(name): status for name in KNOWN_SERVICES},
        f"/{INFERENCE_SERVICE}/ServerLive".encode(): {b"": _framed(TRUE)},
        f"/{INFERENCE_SERVICE}/ServerReady".encode(): {b"": _framed(TRUE if ready else b"")},
    }


def _asked(service: str) -> bytes:
    """A HealthCheckRequest; a name is shorter than 128 bytes."""
    return b"\x0a" + bytes([len(service)]) + service.encode() if service else b""


def _framed(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


class Health:
    """Every known service shares one state, the server's readiness."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    @staticmethod
    def _status(name: str) -> Message:
        return message_class("grpc.health.v1.HealthCheckResponse")(status=name)

    def _serving(self, ready: bool) -> Message:
        return self._status("SERVING" if ready else "NOT_SERVING")

    async def check(self, request: Message, call: Call) -> Message:
        if request.service not in KNOWN_SERVICES:
            raise RpcError(Code.NOT_FOUND, f"unknown service {clip(request.service)!r}", "SERVICE_NOT_FOUND")
        return self._serving(self._readiness.ready)

    async def watch(self, request: Message, call: Call) -> AsyncGenerator[Message, None]:
        """Never ends by itself: the client, or the drain of its connection, ends it."""
        known = request.service in KNOWN_SERVICES
        if not known:
            yield self._status("SERVICE_UNKNOWN")
        async with aclosing(self._readiness.changes()) as changes:
            async for ready in changes:
                # The set of services is fixed, but the specification keeps the stream of an unknown one open.
                if known:
                    yield self._serving(ready)
