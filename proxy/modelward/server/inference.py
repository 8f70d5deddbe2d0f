"""The cold half of inference.GRPCInferenceService: liveness, metadata, configuration, statistics, index.

Answers follow Triton where servers of the protocol differ, because its clients and perf_analyzer are the strictest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from modelward.distribution import release_of
from modelward.models.catalog import Catalog, CatalogEntry, is_in_service
from modelward.rpc.call import Call
from modelward.rpc.protocol import Code, Message, RpcError, message_class
from modelward.server.readiness import Readiness
from modelward.telemetry.statistics import Statistics
from modelward_native.access.identities import PERMITS

if TYPE_CHECKING:
    from modelward.tensors import TensorSpec

SERVER_NAME = "modelward"
ANYTHING = 0
MISSING = "no upstream serves it now"
UNREACHABLE = "no upstream server of it can be reached, and no fallback answers for it"
FAILING = "it does not answer as it should and is out of service until it does"
# Triton's names, and only of what is whole: its model_repository also loads, its schedule_policy also has priorities.
EXTENSIONS = ("model_configuration", "statistics")


# told the name of a model that is not served, and the key of the address that asks: returns when an upstream has been
# asked for it
Known = Callable[[str, int], Awaitable[None]]


async def at_once(name: str, peer: int) -> None:
    """There is no upstream that could have it."""


class Inference:
    """known: called before a question about a model that is not served is answered."""

    def __init__(self, catalog: Callable[[], Catalog], readiness: Readiness, known: Known = at_once) -> None:
        self._catalog = catalog
        self._known = known
        self._readiness = readiness
        self._version = release_of("modelward")

    async def server_live(self, request: Message, call: Call) -> Message:
        return _message("ServerLiveResponse", live=True)

    async def server_ready(self, request: Message, call: Call) -> Message:
        return _message("ServerReadyResponse", ready=self._readiness.ready)

    async def model_ready(self, request: Message, call: Call) -> Message:
        """An unknown model is not ready, and that is no error: so Triton answers, and clients poll it so."""
        if call.permits(PERMITS["metadata"], request.name):
            await self._know(request.name, call)
        if (ask := self._catalog().forwarder(request.name)) is not None:
            try:
                return await ask("ModelReady", request, call)
            except RpcError as error:
                if error.code != Code.UNAVAILABLE:
                    raise
                return _message("ModelReadyResponse", ready=self._catalog().lookup(request.name).falls_back())
        try:
            found = self._catalog().lookup(request.name, request.version)
            ready = is_in_service(found)
        except RpcError:
            ready = False
        return _message("ModelReadyResponse", ready=ready)

    async def server_metadata(self, request: Message, call: Call) -> Message:
        catalog = self._catalog()
        extensions = list(EXTENSIONS)
        # what only some models have is no extension of the server
        if catalog.servers is not None and catalog.only_theirs:
            extensions += await catalog.servers.extensions(call, methods=call.permits(PERMITS["passthrough"]))
        return _message("ServerMetadataResponse", name=SERVER_NAME, version=self._version, extensions=extensions)

    async def model_metadata(self, request: Message, call: Call) -> Message:
        if call.permits(PERMITS["metadata"], request.name):
            await self._know(request.name, call)
        served = self._permitted(request.name, request.version, call, PERMITS["metadata"])
        if served.forward is not None:
            return await served.forward("ModelMetadata", request, call)
        versions = [served.version] if request.version else [v.version for v in self._catalog().versions(request.name)]
        if served.metadata is not None:
            told = type(served.metadata)()
            told.CopyFrom(served.metadata)
            told.name, told.versions[:] = served.name, versions
            return told
        response = _message("ModelMetadataResponse", name=served.name, versions=versions, platform=served.platform)
        response.properties.update(served.properties)
        for tensors, described in ((served.inputs, response.inputs), (served.outputs, response.outputs)):
            for tensor in tensors:
                described.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return response

    async def model_config(self, request: Message, call: Call) -> Message:
        if call.permits(PERMITS["metadata"], request.name):
            await self._know(request.name, call)
        served = self._permitted(request.name, request.version, call, PERMITS["metadata"])
        if served.forward is not None:
            return await served.forward("ModelConfig", request, call)
        return _message("ModelConfigResponse", config=served.config or model_config(served))

    async def model_statistics(self, request: Message, call: Call) -> Message:
        if not request.name:
            served = [
                v
                for v in self._catalog()
                if request.version in ("", v.version) and call.permits(PERMITS["statistics"], v.name)
            ]
        else:
            newest = self._permitted(request.name, request.version, call, PERMITS["statistics"])
            served = [newest] if request.version else list(self._catalog().versions(request.name))
        response = _message("ModelStatisticsResponse")
        told = await self._upstream_statistics(served, request, call)
        for version in served:
            if (stats := told.get(version.upstream_statistics)) is None:
                added = response.model_stats.add(name=version.name, version=version.version)
                _fill_statistics(added, version.statistics())
            else:
                response.model_stats.extend(stats.pop(version.name, ()))
        return response

    async def _upstream_statistics(self, served: list[CatalogEntry], request: Message, call: Call) -> dict[Any, Any]:
        """By who tells them: the stats of upstreams by model, for they count what comes to them another way too; None
        where they keep none."""
        tellers = list(dict.fromkeys(each for v in served if (each := v.upstream_statistics) is not None))

        async def ask(teller: Any) -> dict[str, Any] | None:
            try:
                told = await teller(request.name, request.version if request.name else "", call)
            except RpcError:
                if request.name:
                    raise
                return {}  # the others' are told all the same
            wanted = request.version
            return told and {name: [f for f in of if wanted in ("", f.version)] for name, of in told.items()}

        return dict(zip(tellers, await asyncio.gather(*map(ask, tellers)), strict=True))

    async def repository_index(self, request: Message, call: Call) -> Message:
        """Lists the models of which the caller may call anything."""
        response = _message("RepositoryIndexResponse")
        for served in self._catalog():
            if not call.permits(ANYTHING, served.name):
                continue
            if is_in_service(served):
                response.models.add(name=served.name, version=served.version, state="READY", reason=served.reason)
            elif not request.ready:
                reason = _reason(served)
                state = "UNAVAILABLE" if reason else "LOADING"
                response.models.add(name=served.name, version=served.version, state=state, reason=reason)
        for name, version, reason in () if request.ready else self._catalog().refused:
            if call.permits(ANYTHING, name) and not self._catalog().has(name, version):
                response.models.add(name=name, version=version, state="UNAVAILABLE", reason=reason)
        if not request.ready and (servers := self._catalog().servers) is not None:
            for name, version, state, reason in await servers.unready(call):
                if call.permits(ANYTHING, name) and not self._tells(name, version):
                    response.models.add(name=name, version=version, state=state, reason=reason)
        return response

    def _tells(self, name: str, version: str) -> bool:
        """Whether the index has an entry of its own for it."""
        catalog = self._catalog()
        return catalog.has(name, version) or catalog.forwarder(name) is not None

    async def _know(self, name: str, call: Call) -> None:
        if name not in self._catalog().names:
            await self._known(name, call.peer_key)

    def _permitted(self, name: str, version: str, call: Call, kind: int) -> CatalogEntry:
        """The version asked for. A caller that may not ask is told so whether or not it is there."""
        if not call.permits(kind, name):
            what = "this identity may not call this method of this model"
            raise RpcError(Code.PERMISSION_DENIED, what, "PERMISSION_DENIED")
        return self._catalog().lookup(name, version)


def _reason(served: CatalogEntry) -> str:
    """Why it is not in service; empty while it loads."""
    if served.failing:
        return FAILING
    if served.missing:
        return MISSING
    return served.reason if served.answers() else UNREACHABLE


def _message(kind: str, /, **fields: object) -> Any:
    return message_class(f"inference.{kind}")(**fields)


def model_config(served: CatalogEntry) -> Any:
    """Triton's ModelConfig: where `max_batch_size` is positive, `dims` leave out the batch dimension.

    Of a model that upstreams run it says what its metadata say, and nothing of how they run it.
    """
    config = _message(
        "ModelConfig",
        name=served.name,
        platform=served.platform,
        backend=served.backend,
        max_batch_size=served.max_batch if served.batchable else 0,
    )
    for tensors, described in ((served.inputs, config.input), (served.outputs, config.output)):
        for tensor in tensors:
            described.add(name=tensor.name, data_type=_data_type(tensor), dims=tensor.shape[served.batchable :])
    if not served.runs_here:
        return config
    config.default_model_filename = "model.onnx"
    config.instance_group.add(name=f"{served.name}_0", count=1, kind="KIND_CPU")
    if served.batchable:
        # Present but empty: batches form from what arrives together, and nothing is ever delayed for them.
        config.dynamic_batching.SetInParent()
    return config


def _data_type(tensor: TensorSpec) -> str:
    return "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"


def _fill_statistics(to: Any, statistics: Statistics) -> None:
    to.last_inference = statistics.last_inference_ms
    to.inference_count = statistics.inference_count
    to.execution_count = statistics.execution_count
    for stage in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        duration = getattr(to.inference_stats, stage)
        # Set even where zero: perf_analyzer subtracts two readings of every stage.
        duration.SetInParent()
        duration.count = getattr(statistics, f"{stage}_count")
        duration.ns = getattr(statistics, f"{stage}_ns")
    for batch in statistics.batch_stats:
        entry = to.batch_stats.add(batch_size=batch.batch_size)
        for stage in ("compute_input", "compute_infer", "compute_output"):
            duration = getattr(entry, stage)
            duration.count = batch.count
            duration.ns = getattr(batch, f"{stage}_ns")
