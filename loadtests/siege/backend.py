"""`python -m loadtests.siege.backend PORT`: a model server of known capacity, for the proxy in front of it.

It computes nothing: a request holds one of SLOTS for as long as its model takes, and waits for one as long as it must,
as a server with that many instances of a model does. So its capacity is the same whatever else the machine has to do.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import uvloop

from modelward.rpc.protocol import INFERENCE_SERVICE, message_class

SLOTS = 4
SERVICE_SECONDS = {"light": 0.005, "expensive": 0.1}
PEAK = SLOTS / SERVICE_SECONDS["light"]  # answers per second

FEATURES = 8

Context = Any  # grpc.aio.ServicerContext


def metadata(name: str) -> Any:
    """The ModelMetadataResponse of either model: FP32 rows in, one FP32 per row out."""
    answer = message_class("inference.ModelMetadataResponse")(name=name, versions=["1"])
    answer.inputs.add(name="x", datatype="FP32", shape=[-1, FEATURES])
    answer.outputs.add(name="y", datatype="FP32", shape=[-1])
    return answer


class Backend:
    """Behaviours of the service's methods; each takes and gives encoded messages."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(SLOTS)
        self._request = message_class("inference.ModelInferRequest")
        self._answer = message_class("inference.ModelInferResponse")
        self._named = message_class("inference.ModelMetadataRequest")

    async def infer(self, message: bytes, context: Context) -> bytes:
        request: Any = self._request.FromString(message)
        seconds = SERVICE_SECONDS.get(request.model_name)
        if seconds is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        async with self._slots:
            await asyncio.sleep(seconds or 0.0)
        rows = request.inputs[0].shape[0] if request.inputs and request.inputs[0].shape else 1
        answer = self._answer(model_name=request.model_name, model_version="1", id=request.id)
        answer.outputs.add(name="y", datatype="FP32", shape=[rows])
        answer.raw_output_contents.append(bytes(4 * rows))
        encoded: bytes = answer.SerializeToString()
        return encoded

    async def model_metadata(self, message: bytes, context: Context) -> bytes:
        request: Any = self._named.FromString(message)
        if request.name not in SERVICE_SECONDS:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        encoded: bytes = metadata(request.name).SerializeToString()
        return encoded

    async def ready(self, _message: bytes, _context: Context) -> bytes:
        return b"\x08\x01"  # ready: true

    async def index(self, _message: bytes, _context: Context) -> bytes:
        answer: Any = message_class("inference.RepositoryIndexResponse")()
        for name in SERVICE_SECONDS:
            answer.models.add(name=name, version="1", state="READY")
        encoded: bytes = answer.SerializeToString()
        return encoded


async def serve(port: int) -> None:
    backend = Backend()
    behaviours: dict[str, Callable[[bytes, Context], Awaitable[bytes]]] = {
        "ModelInfer": backend.infer,
        "ModelMetadata": backend.model_metadata,
        "ServerReady": backend.ready,
        "ServerLive": backend.ready,
        "ModelReady": backend.ready,
        "RepositoryIndex": backend.index,
    }
    handlers = {name: grpc.unary_unary_rpc_method_handler(behaviour) for name, behaviour in behaviours.items()}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(INFERENCE_SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
