"""A server in a thread of this process, on a loopback port: for `modelward infer FILE.onnx` and for tests."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import uvloop

from modelward.config.address import Address
from modelward.config.listen import Listen
from modelward.config.schema import Config
from modelward.server.app import Application, running


@contextlib.contextmanager
def local_server(model: Path) -> Iterator[str]:
    """Serves one .onnx file; yields the gRPC address. Raises ProblemsFound where it cannot be served."""
    anywhere = Address(host="127.0.0.1", port=0)
    with in_thread(Config(listen=Listen(grpc=anywhere, http=anywhere), repository=model)) as application:
        yield str(application.grpc_address)


@contextlib.contextmanager
def in_thread(config: Config) -> Iterator[Application]:
    """The started application; its loop runs in another thread: touch it there (call_soon_threadsafe), read it here."""
    started: list[Application] = []
    failure: list[BaseException] = []
    ready = threading.Event()
    loop_of: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        stop = asyncio.Event()
        async with running(config) as application:
            loop_of.append((asyncio.get_running_loop(), stop))
            started.append(application)
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            uvloop.run(main())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            failure.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="modelward", daemon=True)
    thread.start()
    ready.wait()
    if failure:
        thread.join()
        raise failure[0]
    try:
        yield started[0]
    finally:
        loop, stop = loop_of[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failure:
        raise failure[0]
