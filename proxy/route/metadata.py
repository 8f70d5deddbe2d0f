"""What an upstream says about its models, asked through its own protocol."""

from dataclasses import dataclass
from typing import Any

from proxy.config.schema import Signature
from proxy.config.upstream import UpstreamAddress
from proxy.models.signature import TensorSpec
from proxy.route.channel import method, open_channel
from proxy.server.protocol import INFERENCE_SERVICE

ASK_SECONDS = 5.0


@dataclass(frozen=True)
class RemoteModel:
    """A model as an upstream, or the configuration, describes it.

    versions: may be empty where it does not number them. source: who says so, in words.
    """

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source: str


async def _ask(address: UpstreamAddress, name: str, /, **fields: Any) -> Any:
    names = f"inference.{name}Request", f"inference.{name}Response"
    async with open_channel(address) as channel:
        return await method(channel, f"/{INFERENCE_SERVICE}/{name}", *names)(ASK_SECONDS, **fields)


async def describe(address: UpstreamAddress, model: str) -> RemoteModel:
    """The signature of one model. Raises grpc.RpcError."""
    answer = await _ask(address, "ModelMetadata", name=model)
    source = f"signature from {address.text}"
    return RemoteModel(answer.name, tuple(answer.versions), _specs(answer.inputs), _specs(answer.outputs), source)


def declared(name: str, signature: Signature) -> RemoteModel:
    """The signature that the configuration declares, for an upstream that tells none."""
    inputs, outputs = (
        tuple(TensorSpec(t.name, t.datatype, t.shape, (None,) * len(t.shape)) for t in tensors)
        for tensors in (signature.inputs, signature.outputs)
    )
    return RemoteModel(name, (), inputs, outputs, "signature declared")


async def models_of(address: UpstreamAddress) -> list[str]:
    """The names of all models that an upstream lists. Raises grpc.RpcError."""
    answer = await _ask(address, "RepositoryIndex")
    return sorted({entry.name for entry in answer.models})


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(t.name, t.datatype, tuple(-1 if d < 0 else d for d in t.shape), (None,) * len(t.shape))
        for t in tensors
    )
