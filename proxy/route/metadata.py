"""What an upstream says about its models, asked through its own protocol."""

import logging
from dataclasses import dataclass
from typing import Any

import grpc

from proxy.config.names import fault_of_name
from proxy.config.schema import Signature
from proxy.config.upstream import UpstreamAddress
from proxy.models.catalog import version_order
from proxy.models.signature import DATATYPES, HIGHEST_RANK, MOST_TENSORS, TensorSpec
from proxy.problem import Problem
from proxy.route.asking import DECLARE, NotYet
from proxy.route.channel import method, open_channel
from proxy.server.protocol import INFERENCE_SERVICE

ASK_SECONDS = 5.0
# MLServer writes State.READY for what Triton calls READY, and knows a model as UNKNOWN until it is loaded.
LOADING = ("LOADING", "UNKNOWN")

log = logging.getLogger("modelward.upstream")


@dataclass(frozen=True)
class RemoteModel:
    """One version of a model as an upstream, or the configuration, describes it.

    version: "" where it has none. source: who says so, in words.
    config: Triton's ModelConfig, None where its server has none.
    undecoded: why requests can be held against nothing, None where they can; inputs and outputs are empty then, and
    version too, since any passes.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source: str
    platform: str = ""
    config: Any = None
    undecoded: Problem | None = None

    @property
    def optional(self) -> frozenset[str]:
        """Inputs that a request may leave out."""
        return frozenset() if self.config is None else frozenset(i.name for i in self.config.input if i.optional)


async def _ask(address: UpstreamAddress, name: str, /, **fields: Any) -> Any:
    names = f"inference.{name}Request", f"inference.{name}Response"
    async with open_channel(address) as channel:
        return await method(channel, f"/{INFERENCE_SERVICE}/{name}", *names)(ASK_SECONDS, **fields)


async def describe(address: UpstreamAddress, model: str) -> list[RemoteModel]:
    """Every version of one model, ascending; or the model as a whole, undecoded, where one of them tells no signature.

    Raises grpc.RpcError.
    """
    latest = await _ask(address, "ModelMetadata", name=model)
    source = f"signature from {address.text}"
    versions = await _versions(address, model) or [""]
    described = []
    for version in versions:
        told = latest if len(versions) == 1 else await _ask(address, "ModelMetadata", name=model, version=version)
        inputs, outputs = _specs(told.inputs), _specs(told.outputs)
        if unusable := _unusable("input", inputs) or _unusable("output", outputs):
            return [undecoded(model, f"{address.text}: the upstream's metadata {unusable}", DECLARE)]
        config = await _config(address, model, version)
        described.append(RemoteModel(model, version, inputs, outputs, source, told.platform, config))
    return described


async def _config(address: UpstreamAddress, model: str, version: str) -> Any:
    try:
        return (await _ask(address, "ModelConfig", name=model, version=version)).config
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        return None


async def _versions(address: UpstreamAddress, model: str) -> list[str]:
    """From its index, since MLServer's metadata names the versions of what the model was trained with; and where an
    upstream has no index, from its metadata."""
    try:
        versions = {e.version for e in (await _ask(address, "RepositoryIndex", ready=True)).models if e.name == model}
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        versions = set((await _ask(address, "ModelMetadata", name=model)).versions)
    return sorted(versions - {""}, key=version_order)


def undecoded(name: str, why: str, how: str) -> RemoteModel:
    """A model whose signature nobody tells: its requests are the upstream's to read."""
    problem = Problem("requests pass undecoded and unscored", f"model {name}", why, how)
    return RemoteModel(name, "", (), (), "undecoded, unscored", undecoded=problem)


def declared(name: str, signature: Signature) -> RemoteModel:
    """The signature that the configuration declares, for an upstream that tells none."""
    inputs, outputs = (
        tuple(TensorSpec(t.name, t.datatype, t.shape, (None,) * len(t.shape)) for t in tensors)
        for tensors in (signature.inputs, signature.outputs)
    )
    return RemoteModel(name, "", inputs, outputs, "signature declared")


async def models_of(address: UpstreamAddress) -> list[str]:
    """Names of all models that an upstream serves or is about to. Raises grpc.RpcError; NotYet where there is none."""
    ready = {entry.name for entry in (await _ask(address, "RepositoryIndex", ready=True)).models}
    others = {e.name: e for e in (await _ask(address, "RepositoryIndex")).models if e.name not in ready}
    names = ready | {name for name, entry in others.items() if entry.state.rpartition(".")[2] in LOADING}
    if not names:
        raise NotYet(f"none is ready{f' of {len(others)}' if others else ''}")
    for name in sorted(others.keys() - names):
        log.warning("upstream %s: its model %s is not served, it is not ready there", address.text, name)
    usable = []
    for name in sorted(names):
        if fault := fault_of_name(name):
            log.warning("upstream %s: a model of it is not served: %s: %s", address.text, *fault)
        else:
            usable.append(name)
    return usable


def _unusable(kind: str, specs: tuple[TensorSpec, ...]) -> str:
    """What keeps requests from being held against these, or "". Some servers answer, and leave the tensors out."""
    if not 1 <= len(specs) <= MOST_TENSORS:
        return f"has {len(specs)} {kind}s; a signature has 1 to {MOST_TENSORS}"
    if len({spec.name for spec in specs}) < len(specs):
        return f"has two {kind}s of one name"
    for spec in specs:
        if spec.datatype not in DATATYPES.values():
            return f"gives {kind} {spec.name!r} the datatype {spec.datatype!r}, which the protocol lacks"
        if len(spec.shape) > HIGHEST_RANK:
            return f"gives {kind} {spec.name!r} {len(spec.shape)} dimensions; at most {HIGHEST_RANK} are served"
    return ""


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(t.name, t.datatype, tuple(-1 if d < 0 else d for d in t.shape), (None,) * len(t.shape))
        for t in tensors
    )
