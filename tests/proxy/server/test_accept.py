"""Connections are left to a process that has fewer, but never kept waiting for one that does not come for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from pathlib import Path

import trustme

from modelward.config.tls import Tls
from modelward.server.accept import Acceptor, Handshakes
from modelward.server.tls import LiveMaterial
from modelward.telemetry.snapshot import TlsSnapshot
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.timer.deadline import Wheel
from modelward_native.wire.listener import Listener
from tests.certificates import write_pair

CONNECTIONS = 200
WAIT_SECONDS = 30.0


class Counting(Acceptor):
    pauses = 0

    def _pause(self, seconds: float) -> None:
        self.pauses += 1
        super()._pause(seconds)


async def pauses_of_a_long_queue() -> int:
    region = Region.shared(2)
    region.open(1)
    idle = Region.joined(os.dup(region.fd), 1)
    idle.accept(True)  # and takes none
    own = Region.joined(os.dup(region.fd), 0)
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop, time.monotonic_ns)
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        acceptor = Counting(Listener(wheel, Limiter(64), own), bound, own)
        acceptor.start(CONNECTIONS)
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(bound.getsockname()))
        async with asyncio.timeout(WAIT_SECONDS):
            while own.gauges()[2] < CONNECTIONS:
                await asyncio.sleep(0)
        acceptor.close()
    async with asyncio.timeout(WAIT_SECONDS):
        while own.gauges()[2]:
            await asyncio.sleep(0)
    wheel.close()
    return acceptor.pauses


def test_a_long_queue_is_taken_although_another_process_has_fewer_connections() -> None:
    assert 0 < asyncio.run(pauses_of_a_long_queue()) < 20


def hello(context: ssl.SSLContext) -> bytes:
    said = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said).do_handshake()
    return said.read()


async def handshakes_counted(folder: Path) -> TlsSnapshot:
    """Two clients that say nothing, one that speaks no TLS, one that goes in the middle, and one that stays."""
    pair = write_pair(trustme.CA().issue_cert("localhost"), folder, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    region, loop = Region(), asyncio.get_running_loop()
    wheel = Wheel(loop, time.monotonic_ns)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        handshakes = Handshakes(LiveMaterial(Tls(certificate=pair.certificate, key=pair.key)), WAIT_SECONDS)
        acceptor = Acceptor(Listener(wheel, Limiter(64), region), bound, region, handshakes)
        acceptor.start(CONNECTIONS)
        async with asyncio.timeout(WAIT_SECONDS):
            for first in (b"", b"", b"GET / HTTP/1.1\r\n\r\n", hello(context)):
                reader, writer = await asyncio.open_connection(*bound.getsockname())
                writer.write(first)
                if first:
                    await reader.read(1)
                writer.close()
            _, stays = await asyncio.open_connection(*bound.getsockname(), ssl=context)
            while acceptor.failures.count < 4 or acceptor.shaking_hands:
                await asyncio.sleep(0)
        acceptor.close()
        told = acceptor.stats()
        stays.transport.abort()
        async with asyncio.timeout(WAIT_SECONDS):
            while region.gauges()[2]:
                await asyncio.sleep(0)
    wheel.close()
    assert told is not None
    return told


def test_a_handshake_is_one_that_a_hello_began_and_not_a_connection_that_says_nothing(tmp_path: Path) -> None:
    told = asyncio.run(handshakes_counted(tmp_path))
    assert (told.failed_handshakes, told.unfinished) == (4, 1)
