"""A model server over grpcio whose models change as a test says, and which fails or adds metadata when told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc

from modelward.rpc.protocol import INFERENCE_SERVICE, message_class
from tests.e2e.messages import REQUEST, RESPONSE, STREAM_RESPONSE

Signature = tuple[str, list[int]]  # datatype and shape of the input "x"; the output "y" has the same
Answer = Callable[[Any, grpc.ServicerContext], Any]


class ModelPeer(grpc.GenericRpcHandler):
    """models: signatures by model and version. infer: answers requests; the first input under the name y unless told.

    index: whether it has one; KServe's server has none. asked: counts calls, by method.
    """

    def __init__(self, models: dict[str, dict[str, Signature]], *, index: bool = True) -> None:
        self.models = models
        self.index = index
        self.asked: dict[str, int] = {}
        self.infer: Answer = self.held
        self.properties: dict[str, str] = {}
        self.unready: set[str] = set()
        self.secret = False  # whether its index is for clients with a credential
        self.stream_metadata: tuple[Any, Any] | None = None  # before and after the answers of a stream

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name = details.method.rpartition("/")[2]
        answers: dict[str, Answer] = {
            "ModelInfer": self.infer,
            "ModelMetadata": self._metadata,
            "ModelReady": self._ready,
        }
        if self.index:
            answers["RepositoryIndex"] = self._index
        if not details.method.startswith(f"/{INFERENCE_SERVICE}/"):
            return None
        if name == "ModelStreamInfer":
            return grpc.stream_stream_rpc_method_handler(
                self._stream, REQUEST.FromString, STREAM_RESPONSE.SerializeToString
            )
        if name not in answers:
            return None

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self.asked[name] = self.asked.get(name, 0) + 1
            return answers[name](request, context)

        kinds = (f"inference.{name}Request", f"inference.{name}Response")
        read, write = (message_class(kind) for kind in kinds)
        return grpc.unary_unary_rpc_method_handler(handle, read.FromString, write.SerializeToString)

    def held(self, request: Any, context: grpc.ServicerContext) -> Any:
        """An answer, or INVALID_ARGUMENT where the request is not of the model's signature as it is now."""
        versions = self._versions(request.model_name, context)
        version = request.model_version or max(versions)
        if version not in versions:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no version {version}")
        datatype, shape = versions[version]
        given = request.inputs[0]
        fits = len(shape) == len(given.shape) and all(w in (-1, g) for w, g in zip(shape, given.shape, strict=True))
        if given.datatype != datatype or not fits:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"x has shape {list(given.shape)}, not {shape}")
        answer = RESPONSE(model_name=request.model_name, model_version=version, id=request.id)
        answer.outputs.add(name="y", datatype=datatype, shape=given.shape)
        answer.raw_output_contents.append(request.raw_input_contents[0])
        return answer

    def _stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        if self.stream_metadata is not None:
            context.send_initial_metadata(self.stream_metadata[0])
            context.set_trailing_metadata(self.stream_metadata[1])
        for request in requests:
            yield STREAM_RESPONSE(infer_response=self.infer(request, context))

    def _versions(self, name: str, context: grpc.ServicerContext) -> dict[str, Signature]:
        if name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model {name}")
        return self.models[name]

    def _metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        versions = self._versions(request.name, context)
        answer = message_class("inference.ModelMetadataResponse")(name=request.name, versions=sorted(versions))
        if self.properties:
            answer.properties.update(self.properties)
        datatype, shape = versions[request.version or max(versions)]
        answer.inputs.add(name="x", datatype=datatype, shape=shape)
        answer.outputs.add(name="y", datatype=datatype, shape=shape)
        return answer

    def _ready(self, request: Any, context: grpc.ServicerContext) -> Any:
        return message_class("inference.ModelReadyResponse")(
            ready=request.name in self.models and request.name not in self.unready
        )

    def _index(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.secret:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "send a token")
        answer = message_class("inference.RepositoryIndexResponse")()
        for name, versions in self.models.items():
            for version in versions:
                answer.models.add(name=name, version=version, state="READY")
        return answer
