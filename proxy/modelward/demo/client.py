"""A client as any other: grpcio on the running loop, over a real connection."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from google.rpc import error_details_pb2, status_pb2
from msgspec import Struct, field

from modelward.problem import Problem, ProblemsFound
from modelward.rpc.protocol import INFERENCE_SERVICE, message_class
from modelward_native.backend.arrays import NUMPY

# A proxy of the environment is for the world outside, and retries of grpcio's own would hide refusals.
CHANNEL_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0))
TIMEOUT_SECONDS = 5.0
HOW = "Allow connections to loopback (firewall, sandbox) and try again"
INPUT = "input"


class Answer(Struct, frozen=True):
    """What came back, of either kind. code: a gRPC status by name. retry_seconds: RetryInfo's; pushback_ms: the
    trailer's; both None where the server sent none. seconds: by the client's clock."""

    seconds: float
    code: str = "OK"
    message: str = ""
    outputs: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    retry_seconds: float | None = None
    pushback_ms: int | None = None


class Client:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        request, response = (message_class(f"inference.ModelInfer{kind}") for kind in ("Request", "Response"))
        self._request = request
        self._infer = channel.unary_unary(
            f"/{INFERENCE_SERVICE}/ModelInfer",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    async def infer(
        self, model: str, row: npt.NDArray[np.float32], request_id: str = "", timeout: float = TIMEOUT_SECONDS
    ) -> Answer:
        """One row, answered or refused: never raises grpc.RpcError. timeout: seconds, the client's own deadline."""
        tensor = {"name": INPUT, "datatype": "FP32", "shape": [1, row.size]}
        raw = row.astype("<f4").tobytes()
        request = self._request(model_name=model, id=request_id, inputs=[tensor], raw_input_contents=[raw])
        start = time.perf_counter()
        try:
            response = await self._infer(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return _refused(error, time.perf_counter() - start)
        return _answered(response, time.perf_counter() - start)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    """A client whose connection is up. Raises ProblemsFound where no server answers."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await channel.channel_ready()
        except TimeoutError as error:
            why = f"no HTTP/2 connection within {TIMEOUT_SECONDS:.0f} s"
            raise ProblemsFound([Problem("the demo cannot reach its own server", address, why, HOW)]) from error
        yield Client(channel)


def _answered(response: Any, seconds: float) -> Answer:
    outputs = {
        output.name: np.frombuffer(raw, NUMPY[output.datatype]).reshape(output.shape)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }
    parameters = {
        name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in response.parameters.items()
    }
    return Answer(seconds, outputs=outputs, parameters=parameters)


def _refused(error: grpc.aio.AioRpcError, seconds: float) -> Answer:
    trailers = dict(error.trailing_metadata() or ())
    pushback = trailers.get("grpc-retry-pushback-ms")
    return Answer(
        seconds,
        code=error.code().name,
        message=error.details() or "",
        retry_seconds=_retry_seconds(trailers.get("grpc-status-details-bin", b"")),
        pushback_ms=int(pushback) if pushback is not None else None,
    )


def _retry_seconds(details: bytes) -> float | None:
    retry = error_details_pb2.RetryInfo()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(retry):
            return float(retry.retry_delay.ToTimedelta().total_seconds())
    return None
