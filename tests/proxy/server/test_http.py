"""The HTTP listener over real sockets: what it answers, and what a hostile client cannot make it do."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from modelward.config.address import Address, parse_address
from modelward.models.catalog import Catalog
from modelward.problem import ProblemsFound
from modelward.server import http_connection
from modelward.server.http import AppState, HttpServer
from modelward.server.http_connections import MOST, MOST_OF_PEER
from modelward.server.readiness import Readiness
from modelward.telemetry.exposition import Exposition
from modelward.telemetry.snapshot import Snapshot
from tests.proxy.server.catalogs import catalog, version

READY = Catalog([version("fraud", "1")])


@dataclass
class Site:
    """A running listener: its address and its switch."""

    address: Address
    readiness: Readiness

    async def connect(self, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.address.host, self.address.port, local_addr=(source, 0))

    async def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://{self.address}{path}", headers=headers) as response,
        ):
            return response.status, await response.text(), response.headers

    async def raw(self, request: bytes) -> bytes:
        """Sends bytes on a fresh connection and reads until the server closes it."""
        reader, writer = await self.connect()
        writer.write(request)
        try:
            return await asyncio.wait_for(reader.read(), timeout=10)
        finally:
            writer.close()


@asynccontextmanager
async def site(
    models: Catalog = READY, take: Callable[[], Snapshot] = Snapshot, address: str = "127.0.0.1:0"
) -> AsyncIterator[Site]:
    readiness = Readiness()
    readiness.set(True)
    server = await HttpServer.start(parse_address(address), AppState(lambda: models, readiness, Exposition(take)))
    try:
        yield Site(server.address, readiness)
    finally:
        await server.stop()


def run(body: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(body, timeout=30))


def test_port_zero_is_replaced_by_the_port_the_kernel_chose() -> None:
    async def body() -> None:
        async with site() as s:
            assert s.address.port > 0
            assert (await s.get("/healthz"))[:2] == (200, "alive\n")

    run(body())


def test_a_unix_socket_answers_and_its_file_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"

    async def body() -> None:
        async with site(address=f"unix:{path}") as s:
            assert str(s.address) == f"unix:{path}"
            connector = aiohttp.UnixConnector(path=str(path))
            async with aiohttp.ClientSession(connector=connector) as session:
                assert (await session.get("http://localhost/readyz")).status == 200
        assert not path.exists()

    run(body())


def test_a_taken_port_is_an_error_at_start() -> None:
    async def body() -> None:
        async with site() as s:
            with pytest.raises(ProblemsFound, match=r"listen\.http: cannot listen on .*: Address already in use"):
                async with site(address=str(s.address)):
                    pass

    run(body())


@pytest.mark.parametrize("path", ["/readyz", "/v2/health/ready"])
def test_ready_only_while_the_server_wants_traffic(path: str) -> None:
    async def body() -> None:
        async with site() as s:
            assert (await s.get(path))[:2] == (200, "ready\n")
            s.readiness.set(False, "draining")
            assert (await s.get(path))[:2] == (503, "not ready\ndraining\n")

    run(body())


def test_not_ready_while_a_model_is_cold_and_each_one_is_named() -> None:
    async def body() -> None:
        async with site(catalog()) as s:
            status, text, _ = await s.get("/readyz")
            assert status == 503
            assert text.splitlines()[1:] == [
                "warming version 1: loading",
                "broken version 1: its output 'map' is not a tensor",
            ]

    run(body())


@pytest.mark.parametrize("path", ["/healthz", "/v2/health/live"])
def test_alive_even_when_not_ready(path: str) -> None:
    async def body() -> None:
        async with site(catalog()) as s:
            s.readiness.set(False, "draining")
            assert (await s.get(path))[0] == 200

    run(body())


def test_metrics_are_prometheus_text_unless_openmetrics_is_accepted() -> None:
    def take() -> Snapshot:
        return Snapshot(inflight=3)

    async def body() -> None:
        async with site(take=take) as s:
            _, text, headers = await s.get("/metrics")
            assert headers["Content-Type"].startswith("text/plain; version=")
            inflight = next(m for m in parse_text(text) if m.name == "modelward_inflight")
            assert inflight.samples[0].value == 3
            accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.3"
            _, text, headers = await s.get("/metrics", Accept=accept)
            assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert "modelward_inflight" in {m.name for m in parse_openmetrics(text)}

    run(body())


def test_a_head_request_gets_headers_and_no_body() -> None:
    async def body() -> None:
        async with site() as s:
            status, text, headers = await s.get("/metrics", "HEAD")
            assert (status, text) == (200, "")
            assert int(headers["Content-Length"]) > 0

    run(body())


def test_other_methods_and_other_paths_are_refused() -> None:
    async def body() -> None:
        async with site() as s:
            status, _, headers = await s.get("/metrics", "POST")
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
            assert (await s.get("/"))[0] == 404
            assert (await s.get("/metrics/../../etc/passwd"))[0] == 404

    run(body())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 10_000 + b"\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(200)) + b"\r\n", b"400"),
        (b"\x16\x03\x01 not http\r\n\r\n", b"400"),
    ],
    ids=["alive", "no page", "long path", "long header", "many headers", "TLS"],
)
def test_no_answer_tells_which_software_answers(request_bytes: bytes, status: bytes) -> None:
    async def body() -> None:
        async with site() as s:
            head, _, _ = (await s.raw(request_bytes)).partition(b"\r\n\r\n")
            assert head.split()[1] == status
            assert b"Server: modelward\r\n" in head + b"\r\n"
            assert b"aiohttp" not in head
            assert b"Python" not in head

    run(body())


def test_a_broken_scrape_is_a_500_without_details_and_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Snapshot:
        raise RuntimeError("secret path")

    async def body() -> None:
        async with site(take=broken) as s:
            status, text, headers = await s.get("/metrics")
            assert (status, text, headers["Server"]) == (500, "Internal Server Error\n", "modelward")
            assert (await s.get("/healthz"))[0] == 200

    with caplog.at_level(logging.ERROR):
        run(body())
    assert [r.getMessage() for r in caplog.records] == ["HTTP /metrics failed"]
    assert "secret path" in caplog.text


def test_garbage_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with site() as s:
            for _ in range(5):
                await s.raw(b"\x16\x03\x01 not http\r\n\r\n")

    with caplog.at_level(logging.INFO):
        run(body())
    assert not caplog.records


def test_silent_connections_cannot_keep_a_probe_out() -> None:
    async def body() -> None:
        async with site() as s:
            silent = [await s.connect() for _ in range(2 * MOST_OF_PEER)]
            assert (await s.get("/healthz"))[0] == 200
            oldest, newest = silent[0][0], silent[-1][0]
            assert await oldest.read() == b""
            assert not newest.at_eof()
            for _, writer in silent:
                writer.close()

    run(body())


def test_a_request_is_answered_while_others_of_its_address_come_one_upon_the_other() -> None:
    async def body() -> None:
        async with site() as s:
            assert s.address.port is not None
            come = [socket.create_connection((s.address.host, s.address.port)) for _ in range(5 * MOST_OF_PEER)]
            probe = come[2 * MOST_OF_PEER + MOST_OF_PEER // 2]
            probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            reader, writer = await asyncio.open_connection(sock=probe)
            assert (await asyncio.wait_for(reader.read(), timeout=10)).startswith(b"HTTP/1.1 200 OK\r\n")
            writer.close()
            for each in come:
                each.close()

    run(body())


def test_connections_of_many_peers_leave_a_place_for_one_more() -> None:
    async def body() -> None:
        async with site() as s:
            held = [await s.connect(f"127.0.1.{i % 8 + 1}") for i in range(2 * MOST)]
            few = [await s.connect("127.0.2.1") for _ in range(2)]
            for i in range(30):
                reader, writer = await s.connect(f"127.0.3.{i + 1}")
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
                assert await asyncio.wait_for(reader.readuntil(b"\r\n"), timeout=10) == b"HTTP/1.1 200 OK\r\n"
            assert not any(reader.at_eof() for reader, _ in few)  # those with more made way
            for _, writer in (*held, *few):
                writer.close()

    run(body())


def test_clients_that_send_request_upon_request_keep_no_probe_waiting() -> None:
    def take() -> Snapshot:  # a page that takes a fifth of a second
        return Snapshot(promotions={(f"model-{i}", "done", "x" * 200): i for i in range(60_000)})

    async def body() -> None:
        async with site(take=take) as s:
            attackers = [await s.connect(f"127.0.1.{i % 4 + 1}") for i in range(60)]
            for _, writer in attackers:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
            reading = [asyncio.ensure_future(reader.read()) for reader, _ in attackers]
            times = []
            for _ in range(12):
                began = asyncio.get_running_loop().time()
                assert (await s.get("/readyz"))[0] == 200
                times.append(asyncio.get_running_loop().time() - began)
            assert sorted(times)[len(times) // 2] < 0.5, times
            for task, (_, writer) in zip(reading, attackers, strict=True):
                task.cancel()
                writer.transport.abort()

    run(body())


def test_scrapers_that_take_gzip_get_it() -> None:
    async def body() -> None:
        async with site(take=lambda: Snapshot(inflight=3)) as s:
            for encoding, expected in (("gzip, br", "gzip"), ("gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("br", None)):
                _, text, headers = await s.get("/metrics", **{"Accept-Encoding": encoding})
                assert headers.get("Content-Encoding") == expected
                assert "modelward_inflight 3" in text

    run(body())


def test_a_connection_is_closed_after_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "MAX_REQUESTS", 3)

    async def body() -> None:
        async with site() as s:
            reader, writer = await s.connect()
            for _ in range(3):
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                await reader.readuntil(b"alive\n")
            assert await asyncio.wait_for(reader.read(), timeout=10) == b""
            writer.close()

    run(body())


def test_a_client_that_never_reads_makes_way_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 50_000_000  # more than the kernel buffers between the two
    monkeypatch.setattr(Exposition, "write", lambda *_, is_openmetrics: bytes(size))

    async def body() -> None:
        async with site() as s:
            reader, writer = await s.connect()
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            others = [await s.connect() for _ in range(MOST_OF_PEER)]
            assert (await s.get("/healthz"))[0] == 200
            received = 0
            with suppress(ConnectionResetError):
                while chunk := await reader.read(1 << 20):
                    received += len(chunk)
            assert received < size
            for _, other in others:
                other.close()
            writer.close()

    run(body())


def test_a_request_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "LINGER_SECONDS", 0.05)

    async def body() -> None:
        async with site() as s:
            reader, writer = await s.connect()
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), timeout=10)
            assert answer == b"HTTP/1.1 200 OK\r\n"
            rest = await asyncio.wait_for(reader.read(), timeout=5)  # ends because the server cuts the connection
            assert rest.endswith(b"alive\n")
            writer.close()

    run(body())


def test_empty_lines_without_end_are_refused() -> None:
    async def body() -> None:
        async with site() as s:
            assert (await s.raw(b"\r\n" * 100_000)).startswith(b"HTTP/1.1 400 ")

    run(body())


def test_clients_that_end_before_their_answer_leave_nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        async with site() as s:
            for _ in range(50):
                _, writer = await s.connect()
                writer.write(b"POST /healthz HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
                writer.close()
            assert (await s.get("/healthz"))[0] == 200
        assert not failures

    with caplog.at_level(logging.INFO):
        run(body())
    assert not caplog.records
