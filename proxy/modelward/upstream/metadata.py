"""What an upstream says about its models, asked through its own protocol."""

import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from msgspec import Struct

from modelward.config.remote_model import Signature
from modelward.config.upstream import UpstreamAddress
from modelward.model_names import fault_of_name
from modelward.models.catalog import version_order
from modelward.problem import Problem
from modelward.rpc.protocol import INFERENCE_SERVICE, Code
from modelward.tensors import DATATYPES, HIGHEST_RANK, MOST_TENSORS, TensorSpec
from modelward.upstream.channel import CallError, Channel, method, open_channel
from modelward.upstream.discovery import DECLARE, NotYet

ASK_SECONDS = 5.0
LONGEST_VERSION = 64  # bytes, as modelward_native.request.name has it
# MLServer writes State.READY for what Triton calls READY, and knows a model as UNKNOWN until it is loaded.
LOADING = ("LOADING", "UNKNOWN")

log = logging.getLogger("modelward.upstream")


class DescribedVersion(Struct, frozen=True):
    """One version of a model as an upstream, or the configuration, describes it.

    version: "" where it has none. source: who says so, in words.
    config: Triton's ModelConfig, None where its server has none. metadata: as the upstream tells it, with
    what is unread here.
    undecoded: why requests cannot be validated, None where they can; inputs and outputs are empty then, and
    version too, since any passes.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source: str
    platform: str = ""
    config: Any = None
    metadata: Any = None
    undecoded: Problem | None = None

    def is_as(self, other: "DescribedVersion") -> bool:
        """Whether requests for both are the same, whichever server has told of them."""
        mine, its = ((m.inputs, m.outputs, m.platform, m.config) for m in (self, other))
        return (self.key, self.undecoded is None) == (other.key, other.undecoded is None) and mine == its

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.version or ("" if self.undecoded else "1")

    @property
    def interface(self) -> str:
        """A digest of what requests to the version look like; empty where no request can name it."""
        if not 0 < len(self.version.encode()) <= LONGEST_VERSION or self.undecoded is not None:
            return ""
        told = repr([self.platform, *((s.name, s.datatype, s.shape) for s in (*self.inputs, *self.outputs))])
        return f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"

    @property
    def optional(self) -> frozenset[str]:
        """Inputs that a request may leave out."""
        return frozenset() if self.config is None else frozenset(i.name for i in self.config.input if i.optional)


ANSWERS = {"ModelMetadata": "inference.UpstreamModelMetadata"}  # those that are not of the name one expects
Index = Mapping[str, frozenset[str]]  # ready versions by model


class Inquiry:
    """Questions to one upstream, over one connection. Its methods raise CallError."""

    def __init__(self, address: UpstreamAddress, channel: Channel) -> None:
        self.address = address
        self._channel = channel

    async def ask(self, name: str, /, **fields: Any) -> Any:
        names = f"inference.{name}Request", ANSWERS.get(name, f"inference.{name}Response")
        return await method(self._channel, f"/{INFERENCE_SERVICE}/{name}", *names)(ASK_SECONDS, **fields)

    async def index(self) -> Index | None:
        """None where it has no index."""
        try:
            entries = (await self.ask("RepositoryIndex", ready=True)).models
        except CallError as error:
            if error.code is not Code.UNIMPLEMENTED:
                raise
            return None
        found: dict[str, frozenset[str]] = {}
        for entry in entries:
            found[entry.name] = found.get(entry.name, frozenset()) | {entry.version} - {""}
        return found

    async def describe(self, model: str, index: Index | None) -> list[DescribedVersion]:
        """Every version of one model, ascending; or the model as a whole, undecoded, where one of them tells no
        signature. Versions are the index's: MLServer's metadata names those of what the model was trained with."""
        latest = await self.ask("ModelMetadata", name=model)
        source = f"signature from {self.address.text}"
        versions = set(latest.versions) if index is None else index.get(model, frozenset())
        described = []
        for version in sorted(versions - {""}, key=version_order) or [""]:
            told = latest if len(versions) <= 1 else await self.ask("ModelMetadata", name=model, version=version)
            inputs, outputs = _specs(told.inputs), _specs(told.outputs)
            if unusable := _unusable("input", inputs) or _unusable("output", outputs):
                why = f"{self.address.text}: the upstream's metadata {unusable}"
                return [undecoded(model, why, DECLARE)]
            config = await self._config(model, version)
            described.append(DescribedVersion(model, version, inputs, outputs, source, told.platform, config, told))
        return described

    async def is_ready(self, model: str) -> bool:
        """Of a model that is not there it says no, too."""
        try:
            return bool((await self.ask("ModelReady", name=model)).ready)
        except CallError as error:
            if error.code is Code.NOT_FOUND:
                return False
            if error.code is not Code.UNIMPLEMENTED:
                raise
            return True

    async def _config(self, model: str, version: str) -> Any:
        try:
            return (await self.ask("ModelConfig", name=model, version=version)).config
        except CallError as error:
            if error.code is not Code.UNIMPLEMENTED:
                raise
            return None

    async def names(self, *, say: bool) -> tuple[list[str], int] | None:
        """Of all models that it serves or is about to, and how many others it has; None where it has no index. say: log
        those that are not served and why."""
        index = await self.index()
        if index is None:
            return None
        ready = set(index)
        others = {e.name: e for e in (await self.ask("RepositoryIndex")).models if e.name not in ready}
        names = ready | {name for name, entry in others.items() if entry.state.rpartition(".")[2] in LOADING}
        usable = []
        for name in sorted(names):
            if not (fault := fault_of_name(name)):
                usable.append(name)
            elif say:
                log.warning("upstream %s: a model of it is not served: %s: %s", self.address.text, *fault)
        for name in sorted(others.keys() - names) if say else ():
            log.warning("upstream %s: its model %s is not served, it is not ready there", self.address.text, name)
        return usable, len(others)


@contextlib.asynccontextmanager
async def inquire(address: UpstreamAddress) -> AsyncIterator[Inquiry]:
    """Raises ProblemsFound of files of upstream_tls."""
    async with open_channel(address) as channel:
        yield Inquiry(address, channel)


async def describe(address: UpstreamAddress, model: str) -> list[DescribedVersion]:
    """Inquiry.describe, of one model. Raises CallError."""
    async with inquire(address) as inquiry:
        return await inquiry.describe(model, await inquiry.index())


async def models_of(address: UpstreamAddress) -> list[str] | None:
    """Names of all models that an upstream serves or is about to; None where it has no index, as KServe's server.

    Raises CallError; NotYet where there is none.
    """
    async with inquire(address) as inquiry:
        listed = await inquiry.names(say=True)
    if listed is None:
        return None
    names, others = listed
    if not names:
        raise NotYet(f"none is ready{f' of {others}' if others else ''}")
    return names


def undecoded(name: str, why: str, how: str) -> DescribedVersion:
    """A model whose signature is not known: its requests are the upstream's to read."""
    problem = Problem("requests pass undecoded and unscored", f"model {name}", why, how)
    return DescribedVersion(name, "", (), (), "undecoded, unscored", undecoded=problem)


def declared(name: str, signature: Signature) -> DescribedVersion:
    """The signature that the configuration declares, for an upstream that tells none."""
    inputs, outputs = (
        tuple(TensorSpec(t.name, t.datatype, t.shape, (None,) * len(t.shape)) for t in tensors)
        for tensors in (signature.inputs, signature.outputs)
    )
    return DescribedVersion(name, "", inputs, outputs, "signature declared")


def _unusable(kind: str, specs: tuple[TensorSpec, ...]) -> str:
    """What keeps requests from being validated against these, or "". Some servers answer, and leave the tensors out."""
    if not 1 <= len(specs) <= MOST_TENSORS:
        return f"has {len(specs)} {kind}s; a signature has 1 to {MOST_TENSORS}"
    if len({spec.name for spec in specs}) < len(specs):
        return f"has two {kind}s of one name"
    for spec in specs:
        if spec.datatype not in DATATYPES:
            return f"gives {kind} {spec.name!r} the datatype {spec.datatype!r}, which the protocol lacks"
        if len(spec.shape) > HIGHEST_RANK:
            return f"gives {kind} {spec.name!r} {len(spec.shape)} dimensions; at most {HIGHEST_RANK} are served"
    return ""


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(t.name, t.datatype, tuple(-1 if d < 0 else d for d in t.shape), (None,) * len(t.shape))
        for t in tensors
    )
