"""The obvious Python server: grpc.aio on uvloop, protobuf's own classes, one ONNX Runtime call per request.

python -m loadtests.race.grpc_aio PORT MODEL.onnx
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
import uvloop

from loadtests.race.contestant import Contestant
from loadtests.race.ours import Start
from loadtests.tools import models
from loadtests.tools.process import Process, started
from modelward.rpc.protocol import INFERENCE_SERVICE, message_class


class Inference:
    """ModelInfer of one model with one FP32 input of two dimensions. Anything else is the caller's mistake."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # more threads would only add hand-overs at this size
        self.session = onnxruntime.InferenceSession(str(model), options)
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.response: Any = message_class("inference.ModelInferResponse")

    async def infer(self, request: Any, context: Any) -> Any:
        tensor = request.inputs[0]
        array = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tensor.shape)
        results = self.session.run(self.outputs, {tensor.name: array})
        response = self.response(model_name=request.model_name, model_version="1", id=request.id)
        for name, result in zip(self.outputs, results, strict=True):
            datatype = "INT64" if result.dtype == np.int64 else "FP32"
            response.outputs.add(name=name, datatype=datatype, shape=result.shape)
            response.raw_output_contents.append(result.tobytes())
        return response


async def serve(port: int, model: Path) -> None:
    server = grpc.aio.server()
    request: Any = message_class("inference.ModelInferRequest")
    handler = grpc.unary_unary_rpc_method_handler(
        Inference(model).infer,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(INFERENCE_SERVICE, {"ModelInfer": handler})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def prepare(folder: Path) -> Start:
    model = folder / "model.onnx"
    model.write_bytes(models.mlp())

    def start(port: int) -> AbstractContextManager[Process]:
        return started("grpc.aio", [sys.executable, "-m", "loadtests.race.grpc_aio", str(port), str(model)])

    return start


GRPC_AIO = Contestant("grpc.aio", "uvloop, protobuf, one ONNX Runtime call per request, no guards", prepare, share=0.2)

if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
