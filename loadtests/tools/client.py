"""A real gRPC client, to check what h2load cannot see: the status and the answer itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from loadtests.tools.process import Process
from modelward.rpc.protocol import message_class

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64", np.dtype(object): "BYTES"}
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]  # a channel of its own per server that comes and goes

Inputs = Mapping[str, npt.NDArray[Any]]
Metadata = Sequence[tuple[str, str]]


def request(model: str, inputs: Inputs) -> Any:
    """A ModelInferRequest with raw contents."""
    tensors = [{"name": n, "datatype": DATATYPES[a.dtype], "shape": list(a.shape)} for n, a in inputs.items()]
    raw = [_raw(array) for array in inputs.values()]
    return message_class("inference.ModelInferRequest")(model_name=model, inputs=tensors, raw_input_contents=raw)


def framed(message: bytes, *, compressed: bool = False) -> bytes:
    """The message as gRPC puts it on a stream: flag, length, bytes."""
    return struct.pack(">BI", compressed, len(message)) + message


def _raw(array: npt.NDArray[Any]) -> bytes:
    if array.dtype != object:
        return array.tobytes()
    return b"".join(struct.pack("<I", len(element)) + element for element in array.ravel())


@contextmanager
def channel(port: int, trust: bytes | None = None) -> Iterator[Any]:
    """trust: PEM of the authority that the server's certificate must be of; None for plain text."""
    target = f"127.0.0.1:{port}"
    if trust is None:
        opened = grpc.insecure_channel(target, options=OPTIONS)
    else:
        opened = grpc.secure_channel(target, grpc.ssl_channel_credentials(trust), options=OPTIONS)
    with opened:
        yield opened


def infer(opened: Any, message: bytes, timeout: float = 10.0, metadata: Metadata = ()) -> bytes:
    """The encoded ModelInferResponse to an encoded request. Raises grpc.RpcError."""
    answer: bytes = opened.unary_unary(INFER)(message, timeout=timeout, metadata=metadata)
    return answer


def status(opened: Any, message: bytes, metadata: Metadata = ()) -> str:
    """The name of the status that the request ends with."""
    try:
        infer(opened, message, metadata=metadata)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def wait_until_answered(
    port: int, message: bytes, process: Process, wait_seconds: float = 120.0, trust: bytes | None = None
) -> None:
    """Until the server has a status for the request other than that it is not there yet. Raises Ended, TimeoutError."""
    wait = 0.1
    for _ in range(round(wait_seconds / wait)):
        with channel(port, trust) as opened:
            if status(opened, message) not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                return
        process.check(wait)
    raise TimeoutError(f"{process.name} did not answer within {wait_seconds:.0f} s:\n{process.tail()}")


def output(answer: bytes, name: str, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """One output of an encoded ModelInferResponse with raw contents."""
    response: Any = message_class("inference.ModelInferResponse").FromString(answer)
    names = [tensor.name for tensor in response.outputs]
    index = names.index(name)
    return np.frombuffer(response.raw_output_contents[index], dtype).reshape(response.outputs[index].shape)
