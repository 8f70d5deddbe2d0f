"""What the servers of `upstreams:` tell of themselves: models that are not ready there, extensions of the protocol."""

import time
from collections import OrderedDict
from typing import Any

from proxy.models.refused import for_clients
from proxy.route.elsewhere import Elsewhere, credentials
from proxy.server.call import Call
from proxy.server.protocol import Message, RpcError, message_class

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

    def __init__(self, asked: Elsewhere, *, single: bool, passthrough: bool) -> None:
        self._asked = asked
        self._single = single
        self._passthrough = passthrough
        self._kept: OrderedDict[tuple[str, ...], tuple[float, list[Any]]] = OrderedDict()

    async def unready(self, call: Call) -> list[Any]:
        """Entries of their indices for what is not ready, with their own states and, as clients may see them, reasons."""
        found: list[Any] = []
        for answer in await self._ask("RepositoryIndex", call):
            for entry in answer.models:
                # MLServer writes State.READY
                if (state := entry.state.rpartition(".")[2]) != READY:
                    entry.state, entry.reason = state, for_clients(entry.reason)
                    found.append(entry)
        return found

    async def extensions(self, call: Call, *, methods: bool) -> list[str]:
        """Those that all of them have and that pass. methods: whether the caller may call methods that are not known
        here."""
        passing = OF_REQUESTS
        if self._single:
            passing += OF_ONE_SERVER + (OF_METHODS if self._passthrough and methods else ())
        told = [set(answer.extensions) for answer in await self._ask("ServerMetadata", call)]
        return [name for name in passing if told and all(name in each for each in told)]

    async def _ask(self, name: str, call: Call) -> list[Any]:
        """Empty where they cannot be asked, or do not tell it."""
        key, now = (name, *credentials(call)), time.monotonic()
        until, answers = self._kept.get(key, (0.0, []))
        if until > now:
            return answers
        request: Message = message_class(f"inference.{name}Request")()
        try:
            answers = await self._asked.ask_all(name, request, call, ASK_SECONDS)
        except RpcError:
            answers = []
        self._kept[key] = now + KEPT_SECONDS, answers
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return answers
