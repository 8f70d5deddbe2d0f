"""Requests and answers of the protocol over plain grpcio, and refusals taken apart.

The message classes come from a private descriptor pool, beside which tritonclient's generated ones can be imported.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import numpy.typing as npt
from google.rpc import error_details_pb2, status_pb2

from modelward.rpc.protocol import HEALTH_SERVICE, INFERENCE_SERVICE, message_class

Array = npt.NDArray[Any]

TIMEOUT = 20.0
ROUNDED_UP = 0.1  # grpcio writes a timeout of more than 10 s in tenths of a second, and never less than was asked for
NUMPY: dict[str, Any] = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "FP32": np.float32,
    "FP64": np.float64,
}
DATATYPE = {np.dtype(kind): name for name, kind in NUMPY.items()} | {np.dtype(object): "BYTES"}
CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

REQUEST = message_class("inference.ModelInferRequest")
RESPONSE = message_class("inference.ModelInferResponse")
STREAM_RESPONSE = message_class("inference.ModelStreamInferResponse")
INFER = f"/{INFERENCE_SERVICE}/ModelInfer"
STREAM_INFER = f"/{INFERENCE_SERVICE}/ModelStreamInfer"


def raw_of(array: Array) -> bytes:
    """The raw form of a tensor: little-endian elements, or length-prefixed strings."""
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(item)) + item for item in array.ravel().tolist())
    return array.tobytes()


def array_of(datatype: str, shape: Iterable[int], raw: bytes) -> Array:
    """The tensor of a raw form; BYTES become an array of bytes objects."""
    if datatype != "BYTES":
        return np.frombuffer(raw, NUMPY[datatype]).reshape(tuple(shape))
    items, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        items.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return np.array(items, object).reshape(tuple(shape))


def request(
    model: str,
    inputs: Mapping[str, Array],
    *,
    version: str = "",
    id: str = "",
    typed: bool = False,
    outputs: Iterable[str] = (),
    parameters: Mapping[str, int | str | bool | float] | None = None,
) -> Any:
    """A ModelInferRequest; BYTES inputs are object arrays of bytes."""
    message = REQUEST(model_name=model, model_version=version, id=id)
    for name, array in inputs.items():
        datatype = DATATYPE[array.dtype]
        tensor = message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if typed:
            getattr(tensor.contents, CONTENTS[datatype]).extend(array.ravel().tolist())
        else:
            message.raw_input_contents.append(raw_of(array))
    for name in outputs:
        message.outputs.add(name=name)
    for key, value in (parameters or {}).items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}[type(value)]
        setattr(message.parameters[key], kind, value)
    return message


def arrays(response: Any) -> dict[str, Array]:
    """Output tensors by name."""
    assert len(response.raw_output_contents) == len(response.outputs)
    return {
        output.name: array_of(output.datatype, output.shape, raw)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def parameters(response: Any) -> dict[str, Any]:
    return {key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in response.parameters.items()}


class Stub:
    """The services' methods on one channel."""

    def __init__(self, address: str, **options: Any) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1), *options.items()])
        self.infer_call = self.channel.unary_unary(INFER, REQUEST.SerializeToString, RESPONSE.FromString)
        self.stream_call = self.channel.stream_stream(
            STREAM_INFER, REQUEST.SerializeToString, STREAM_RESPONSE.FromString
        )

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def infer(self, message: Any, timeout: float | None = TIMEOUT, **options: Any) -> Any:
        return self.infer_call(message, timeout=timeout, **options)

    def future(self, message: Any, timeout: float | None = TIMEOUT, **options: Any) -> Any:
        return self.infer_call.future(message, timeout=timeout, **options)

    def stream(self, messages: Iterator[Any] | Iterable[Any], timeout: float | None = TIMEOUT) -> Any:
        return self.stream_call(iter(messages), timeout=timeout)

    def ask(self, method: str, service: str = INFERENCE_SERVICE, **fields: Any) -> Any:
        """A unary method other than ModelInfer, by its name; the request's fields."""
        package = service.rpartition(".")[0]
        names = (
            ("HealthCheckRequest", "HealthCheckResponse")
            if service == HEALTH_SERVICE
            else (f"{method}Request", f"{method}Response")
        )
        asked, answer = (message_class(f"{package}.{name}") for name in names)
        call = self.channel.unary_unary(f"/{service}/{method}", asked.SerializeToString, answer.FromString)
        return call(asked(**fields), timeout=TIMEOUT)

    def statistics(self, model: str) -> Any:
        (found,) = self.ask("ModelStatistics", name=model).model_stats
        return found


@dataclass(frozen=True)
class Refusal:
    """An error as a client sees it."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    retry_seconds: float | None
    pushback_ms: int | None
    trailers: dict[str, Any]


def refusal(error: Any) -> Refusal:
    """A grpc.RpcError taken apart; what its details repeat must agree."""
    trailers = {key: value for key, value in error.trailing_metadata() or ()}
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    unpacked = {detail.TypeName() for detail in status.details if detail.Unpack(info) or detail.Unpack(retry)}
    delay = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    pushback = trailers.get("grpc-retry-pushback-ms")
    return Refusal(
        error.code(),
        error.details(),
        info.reason,
        info.domain,
        delay if "google.rpc.RetryInfo" in unpacked else None,
        None if pushback is None else int(pushback),
        trailers,
    )


def refused(stub: Stub, message: Any, **options: Any) -> Refusal:
    """Sends a request that must be refused."""
    try:
        response = stub.infer(message, **options)
    except grpc.RpcError as error:
        return refusal(error)
    raise AssertionError(f"answered: {response}")
