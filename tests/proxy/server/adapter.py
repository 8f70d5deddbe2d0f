"""The cold methods behind a real grpc.aio server, on a thread of its own so that blocking clients can talk to it.

Stands in for the compiled server, whose tests are elsewhere: it lends `dispatch` the same things (bytes, a call, a
send that waits) and turns RpcError into a status.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from modelward.rpc.protocol import RpcError
from modelward.server.methods import Dispatcher


@dataclass(frozen=True)
class AdapterCall:
    peer: str
    metadata: dict[str, str]
    identity: str = ""
    identity_kind: str = ""
    may_prove_itself: bool = True
    peer_key: int = 0

    def permits(self, kind: int, model: str | None = None) -> bool:
        return True


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def service(self, details: Any) -> Any:
        path = details.method.encode()
        if path not in self._dispatcher.methods:
            return None

        async def handle(messages: Any, context: Any) -> None:
            call = AdapterCall(context.peer(), {k: v for k, v in context.invocation_metadata() if isinstance(v, str)})
            try:
                await self._dispatcher.dispatch(path, messages, call, context.write)
            except RpcError as error:
                await context.abort(grpc.StatusCode[error.code.name], error.message)

        # Unary and streaming calls are the same on the wire: one handler without serialisers carries them all.
        return grpc.stream_stream_rpc_method_handler(handle)


class Served:
    """A running server: its address, and a way onto its loop."""

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self.address = address
        self._loop = loop

    def on_loop(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function where the server runs, waits for it, and returns its result."""
        done: Future[Any] = Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(function(*arguments)))
        return done.result(timeout=60)


@contextmanager
def served(dispatcher: Dispatcher) -> Iterator[Served]:
    """Serves the dispatcher's methods on a loopback port of the kernel's choice until the block ends."""
    started: Future[Served] = Future()
    stop: Future[asyncio.Event] = Future()

    async def main() -> None:
        server = grpc.aio.server(handlers=[_Handlers(dispatcher)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stopping = asyncio.Event()
        stop.set_result(stopping)
        started.set_result(Served(f"127.0.0.1:{port}", asyncio.get_running_loop()))
        await stopping.wait()
        await server.stop(grace=None)

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="adapter")
    thread.start()
    server = started.result(timeout=60)
    try:
        yield server
    finally:
        server.on_loop(stop.result(timeout=60).set)
        thread.join(timeout=60)
        assert not thread.is_alive()
