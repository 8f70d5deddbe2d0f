"""mTLS of the admin API: who is let in, and files that change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
import trustme

from proxy.admin.server import AdminServer
from proxy.config.tls import AdminTls
from proxy.problem import ProblemsFound
from tests.certificates import authority_file, credentials, write_pair
from tests.proxy.admin.test_server import ANYWHERE, Played, method

SERVER, OPERATOR = "localhost", "operator"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(tmp_path: Path, authority: trustme.CA) -> AdminTls:
    pair = write_pair(authority.issue_cert(SERVER), tmp_path, "server")
    ca = authority_file(authority, tmp_path / "ca.pem")
    return AdminTls(certificate=pair.certificate, key=pair.key, client_ca=ca)


async def code(server: AdminServer, shown: grpc.ChannelCredentials) -> grpc.StatusCode:
    options = [("grpc.ssl_target_name_override", SERVER), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(str(server.address), shown, options=options) as channel:
        answered: grpc.StatusCode = await method(channel, "Status")().code()
        return answered


def test_only_who_shows_a_certificate_of_the_authority_is_let_in(tls: AdminTls, authority: trustme.CA) -> None:
    async def main() -> None:
        server = await AdminServer.start(ANYWHERE, tls, Played())
        try:
            ours = credentials(authority, authority.issue_cert(OPERATOR))
            assert await code(server, ours) is grpc.StatusCode.OK
            strangers = credentials(authority, trustme.CA().issue_cert(OPERATOR))
            for refused in (strangers, credentials(authority)):
                assert await code(server, refused) is grpc.StatusCode.UNAVAILABLE
            async with grpc.aio.insecure_channel(str(server.address)) as plain:
                assert await method(plain, "Status")().code() is grpc.StatusCode.UNAVAILABLE
        finally:
            await server.stop()

    asyncio.run(main())


def test_files_are_loaded_again_when_they_change_and_broken_ones_are_not(tls: AdminTls, authority: trustme.CA) -> None:
    async def main() -> None:
        server = await AdminServer.start(ANYWHERE, tls, Played())
        old, other = credentials(authority, authority.issue_cert(OPERATOR)), trustme.CA()
        new = credentials(other, other.issue_cert(OPERATOR))
        try:
            tls.key.write_text("no key")
            assert await code(server, old) is grpc.StatusCode.OK
            write_pair(other.issue_cert(SERVER), tls.key.parent, "server")
            authority_file(other, tls.client_ca)
            assert await code(server, new) is grpc.StatusCode.OK
            assert await code(server, old) is grpc.StatusCode.UNAVAILABLE
        finally:
            await server.stop()

    asyncio.run(main())


def test_files_that_cannot_serve_are_told_at_the_start(tls: AdminTls) -> None:
    tls.client_ca.write_text("no certificate")
    with pytest.raises(ProblemsFound, match=r"admin_tls\.client_ca holds no certificate"):
        asyncio.run(AdminServer.start(ANYWHERE, tls, Played()))
