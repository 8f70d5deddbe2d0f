"""A served witness among strangers: none of them keeps it from the logs that it cosigns."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelward.audit import witness_server
from modelward.audit.files import LogWriter
from modelward.audit.note import COSIGNATURE, Signer
from modelward.audit.record import automatic
from modelward.audit.witness import LARGEST_REQUEST, Request, Witness
from modelward.audit.witness_server import MOST_AT_ONCE, MOST_BODIES, MOST_BODIES_OF_ONE, WitnessServer
from modelward.config.address import Address

LOG = Signer("log.example", bytes(range(32)))
WITNESS = Signer("witness.example", bytes(range(1, 33)), COSIGNATURE)
START = b"POST /add-checkpoint HTTP/1.1\r\nHost: a\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Served:
    def __init__(self, folder: Path, address: Address) -> None:
        log = LogWriter.open(folder / "log", LOG)
        log.append([automatic("version.loaded", model="m")])
        self.body = bytes(Request(0, (), bytes(log.reader().note())))
        self._address = address
        log.close()

    async def sent(self, data: bytes) -> Connection:
        reader, writer = await asyncio.open_connection(self._address.host, self._address.port)
        writer.write(data)
        await writer.drain()
        return reader, writer

    async def asked(self, head: bytes, body: bytes = b"") -> int:
        reader, writer = await self.sent(head + b"\r\n" + body)
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status

    async def cosigned(self) -> int:
        return await self.asked(START + b"Content-Length: %d\r\n" % len(self.body), self.body)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    server = WitnessServer(Witness(folder / "witness", [LOG.verifier], WITNESS))
    await server.start(Address(host="127.0.0.1", port=0))
    assert server.address is not None
    try:
        async with asyncio.timeout(30):
            yield Served(folder, server.address)
    finally:
        await server.stop()


def test_bodies_that_drip_keep_no_log_out_and_make_way_for_newer_ones(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as witness:
            dripping = [await witness.sent(START + b"Content-Length: 100\r\n\r\nold") for _ in range(2 * MOST_AT_ONCE)]
            assert [await witness.cosigned() for _ in range(3)] == [200, 409, 409]
            assert b" 408 " in await dripping[0][0].readline()  # long before its time is over
            for _, writer in dripping:
                writer.close()

    asyncio.run(main())


def test_a_body_has_only_so_much_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_server, "READ_SECONDS", 0.05)

    async def main() -> None:
        async with serving(tmp_path) as witness:
            assert await witness.asked(START + b"Content-Length: 100\r\n", b"old") == 408
            assert await witness.cosigned() == 200

    asyncio.run(main())


def test_each_address_and_all_of_them_have_so_many_bodies_under_way() -> None:
    async def one(owner: str) -> str:
        try:
            async with bodies.place(owner):
                await asyncio.Event().wait()
        except TimeoutError:
            return "made way"
        return "ended"

    async def main() -> None:
        tasks = [asyncio.create_task(one("a")) for _ in range(MOST_BODIES_OF_ONE)]
        tasks += [asyncio.create_task(one(f"b{i}")) for i in range(MOST_BODIES - MOST_BODIES_OF_ONE)]
        await asyncio.sleep(0)
        newer = asyncio.create_task(one("a"))
        assert await tasks[0] == "made way"  # of its own address
        assert not any(task.done() for task in tasks[1:])
        another = asyncio.create_task(one("c"))
        assert await tasks[1] == "made way"  # the oldest of all
        assert not any(task.done() for task in (*tasks[2:], newer, another))
        for task in (*tasks, newer, another):
            task.cancel()
        await asyncio.gather(*tasks, newer, another, return_exceptions=True)
        assert not bodies._of

    bodies = witness_server._Bodies()
    asyncio.run(asyncio.wait_for(main(), 10))


def test_an_ipv6_network_counts_as_one() -> None:
    owners = [witness_server._owner(each) for each in ("2001:db8::1", "2001:db8::ffff:2", "fe80::1%eth0", "192.0.2.1")]
    assert owners == ["2001:db8::/64", "2001:db8::/64", "fe80::/64", "192.0.2.1"]


def test_what_is_packed_or_too_large_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as witness:
            packed = gzip.compress(bytes(1 << 24))
            head = START + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(packed)
            assert await witness.asked(head, packed[:100]) == 415
            large = b"%x\r\n%s\r\n" % (LARGEST_REQUEST + 1, bytes(LARGEST_REQUEST + 1))
            assert await witness.asked(START + b"Transfer-Encoding: chunked\r\n", large) == 413
            assert await witness.cosigned() == 200

    asyncio.run(main())


def test_requests_that_cannot_be_read_are_one_line_without_what_they_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with serving(tmp_path) as witness:
            headers = b"".join(b"X-Evil-%d: evil\r\n" % i for i in range(200))
            for _ in range(3):
                assert await witness.asked(START + headers) == 400
            _, writer = await witness.sent(START + b"Content-Length: 100\r\n\r\nold")
            writer.transport.abort()
            assert await witness.cosigned() == 200

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    (record,) = caplog.records
    assert record.getMessage().startswith("a request of 127.0.0.1 cannot be read: ")
    assert record.exc_info is None
    assert "evil" not in caplog.text.lower()
