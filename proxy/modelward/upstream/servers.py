"""What the servers of `upstreams:` tell of themselves: models that are not ready there, extensions of the protocol."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from modelward.repository.refused import for_clients
from modelward.rpc.call import Call
from modelward.rpc.protocol import Message, RpcError, message_class
from modelward.upstream.forwarder import Forwarder, credentials

T = TypeVar("T")

# what can be left out is not waited for any longer
ASK_SECONDS = 1.0
# an answer is given again to clients of the same credentials: their questions are not the servers' load
KEPT_SECONDS = 1.0
MOST_KEPT = 64
READY = "READY"
# Triton's names. Those of single requests pass to any server; those of what a server keeps pass where there is one.
OF_REQUESTS: tuple[str, ...] = ("classification", "parameters", "schedule_policy")
OF_ONE_SERVER = ("sequence",)
OF_METHODS = (
    "cuda_shared_memory",
    "logging",
    "model_repository",
    "model_repository(unload_dependents)",
    "system_shared_memory",
    "trace",
)


class UpstreamServers:
    """single: whether there is one server, to which everything goes. passthrough: whether it gets methods that are not
    known here."""

    def __init__(self, asked: Forwarder, *, single: bool, passthrough: bool) -> None:
        self._asked = asked
        self._single = single
        self._passthrough = passthrough
        self._kept: OrderedDict[tuple[str, ...], tuple[float, list[Any]]] = OrderedDict()

    async def unready(self, call: Call) -> list[tuple[str, str, str, str]]:
        """Name, version, state and reason of what is not ready there; of the reason what clients may see."""

        def read(answers: list[Any]) -> list[tuple[str, str, str, str]]:
            found = {}
            for entry in (entry for answer in answers for entry in answer.models):
                # MLServer writes State.READY
                if (state := entry.state.rpartition(".")[2]) != READY:
                    found[entry.name, entry.version] = state, for_clients(entry.reason)
            return [(*which, *told) for which, told in found.items()]

        return await self._ask("RepositoryIndex", call, read)

    async def extensions(self, call: Call, *, methods: bool) -> list[str]:
        """Those that all of them have and that pass. methods: whether the caller may call methods that are not known
        here."""
        passing = OF_REQUESTS
        if self._single:
            passing += OF_ONE_SERVER + (OF_METHODS if self._passthrough and methods else ())

        def read(answers: list[Any]) -> list[str]:
            told = [set(answer.extensions) for answer in answers]
            return [name for name in passing if told and all(name in each for each in told)]

        return await self._ask("ServerMetadata", call, read, str(methods))

    async def _ask(self, name: str, call: Call, read: Callable[[list[Any]], list[T]], *more: str) -> list[T]:
        """What is read of their answers; of none where they cannot be asked, or do not tell it."""
        key = (name, *more, *credentials(call))
        until, kept = self._kept.get(key, (0.0, []))
        if until > time.monotonic():
            return kept
        request: Message = message_class(f"inference.{name}Request")()
        try:
            kept = read(await self._asked.ask_all(name, request, call, ASK_SECONDS))
        except RpcError:
            kept = read([])
        self._kept[key] = time.monotonic() + KEPT_SECONDS, kept
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return kept
