"""Runs inside KServe's environment, never imported here.

add: as everywhere. plain: the same, and it does not say what it takes, as most models there. leaving: the same, until
it is sent a 0: then it is not ready.
"""

import asyncio
import sys

import grpc
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension


class Add(Model):
    def __init__(self, name: str, described: bool = True) -> None:
        super().__init__(name)
        self.described = described
        self.ready = True

    async def get_input_types(self) -> list[dict[str, object]]:
        return self.tensor("x")

    async def get_output_types(self) -> list[dict[str, object]]:
        return self.tensor("y")

    def tensor(self, name: str) -> list[dict[str, object]]:
        return [{"name": name, "datatype": "FP32", "shape": [-1, 4]}] if self.described else []

    async def predict(
        self, payload: InferRequest, headers: object = None, response_headers: object = None
    ) -> InferResponse:
        x = payload.inputs[0].as_numpy()
        self.ready = self.name != "leaving" or bool(x.all())
        y = InferOutput(name="y", shape=list(x.shape), datatype="FP32")
        y.set_data_from_numpy(x + 1, binary_data=not payload.inputs[0].data)
        return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=[y])


async def main() -> None:
    """Its ModelServer listens on all addresses; this is what it runs for gRPC."""
    models = ModelRepository()
    for model in (Add("add"), Add("leaving"), Add("plain", described=False)):
        models.update(model)
    servicer = InferenceServicer(DataPlane(model_registry=models), ModelRepositoryExtension(model_registry=models))
    server = grpc.aio.server(interceptors=[ExceptionToStatusInterceptor()])
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    await server.wait_for_termination()


asyncio.run(main())
