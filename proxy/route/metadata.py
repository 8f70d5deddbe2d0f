"""What an upstream says about its models, asked through its own protocol."""

from dataclasses import dataclass
from typing import Any

import grpc

from proxy.config.upstream import UpstreamAddress
from proxy.models.signature import TensorSpec
from proxy.server.protocol import INFERENCE_SERVICE, message_class

ASK_SECONDS = 5.0


@dataclass(frozen=True)
class RemoteModel:
    """A model as an upstream describes it. versions: may be empty where it does not number them."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


async def _ask(address: UpstreamAddress, method: str, **fields: Any) -> Any:
    request = message_class(f"inference.{method}Request")(**fields)
    async with grpc.aio.insecure_channel(address.target) as channel:
        call = channel.unary_unary(
            f"/{INFERENCE_SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class(f"inference.{method}Response").FromString,
        )
        return await call(request, timeout=ASK_SECONDS, wait_for_ready=True)


async def describe(address: UpstreamAddress, model: str) -> RemoteModel:
    """The signature of one model. Raises grpc.RpcError."""
    answer = await _ask(address, "ModelMetadata", name=model)
    return RemoteModel(answer.name, tuple(answer.versions), _specs(answer.inputs), _specs(answer.outputs))


async def models_of(address: UpstreamAddress) -> list[str]:
    """The names of all models that an upstream lists. Raises grpc.RpcError."""
    answer = await _ask(address, "RepositoryIndex")
    return sorted({entry.name for entry in answer.models})


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(t.name, t.datatype, tuple(-1 if d < 0 else d for d in t.shape), (None,) * len(t.shape))
        for t in tensors
    )
