"""Who is recorded as the one that asked for something."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
import pytest
import trustme

from proxy.admin.actor import LONGEST, actor_of
from proxy.admin.server import AdminServer
from proxy.config.address import Address
from proxy.config.tls import AdminTls
from tests.certificates import authority_file, credentials, write_pair
from tests.proxy.admin.test_server import ANYWHERE, Played, method


class Context:
    def __init__(self, peer: str, properties: Mapping[str, Sequence[bytes]] | None = None) -> None:
        self._peer = peer
        self._properties = properties or {}

    def peer(self) -> str:
        return self._peer

    def uid(self) -> int | None:
        return None

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return self._properties


def test_the_user_of_a_unix_sockets_client_is_the_actor(tmp_path: Path) -> None:
    async def main() -> str:
        operator = Played()
        server = await AdminServer.start(Address(path=str(tmp_path / "admin.sock")), None, operator)
        try:
            async with grpc.aio.insecure_channel(str(server.address)) as channel:
                await method(channel, "Rollback")(model="a")
        finally:
            await server.stop()
        return operator.actors[0]

    actor = asyncio.run(main())
    assert f"uid {os.geteuid()}" in actor
    assert "Unix socket" in actor


@pytest.mark.parametrize(
    ("family", "host", "scheme"),
    [(socket.AF_INET, "127.0.0.1", "ipv4:127.0.0.1"), (socket.AF_INET6, "::1", "ipv6:[::1]")],
)
def test_on_this_machines_own_addresses_it_is_the_user_whose_socket_it_is(
    family: socket.AddressFamily, host: str, scheme: str
) -> None:
    try:
        listening = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("no such address here")
    with listening, socket.create_connection(listening.getsockname()[:2]) as client:
        port = client.getsockname()[1]
        assert f"uid {os.getuid()}" in actor_of(Context(f"{scheme}:{port}"))
    assert actor_of(Context(f"{scheme}:{port}")) == f"local {host}", "nobody's any more"


@pytest.mark.parametrize(("peer", "actor"), [("ipv4:192.0.2.7:99", "address 192.0.2.7"), ("other", "local")])
def test_else_it_is_the_address(peer: str, actor: str) -> None:
    assert actor_of(Context(peer)) == actor


def test_of_a_certificate_its_uri_comes_before_other_names() -> None:
    names = [b"ops.example", b"spiffe://example/ops"]
    of = lambda **properties: actor_of(Context("ipv4:127.0.0.1:1", properties))  # noqa: E731
    assert of(x509_subject_alternative_name=names) == "certificate spiffe://example/ops"
    assert of(x509_subject_alternative_name=names[:1], x509_common_name=[b"x"]) == "certificate ops.example"
    assert of(x509_common_name=[b"al\x1bice\xff"]) == "certificate al?ice\N{REPLACEMENT CHARACTER}"
    assert len(of(x509_common_name=[b"x" * 4000])) == LONGEST


def test_the_certificate_of_a_real_connection_is_the_actor(tmp_path: Path) -> None:
    authority = trustme.CA()
    pair = write_pair(authority.issue_cert("localhost"), tmp_path, "server")
    tls = AdminTls(certificate=pair.certificate, key=pair.key, client_ca=authority_file(authority, tmp_path / "ca.pem"))

    async def main() -> str:
        operator = Played()
        server = await AdminServer.start(ANYWHERE, tls, operator)
        try:
            shown = credentials(authority, authority.issue_cert("alice.example"))
            options = [("grpc.ssl_target_name_override", "localhost")]
            async with grpc.aio.secure_channel(str(server.address), shown, options=options) as channel:
                await method(channel, "Rollback")(model="a")
        finally:
            await server.stop()
        return operator.actors[0]

    assert asyncio.run(main()) == "certificate alice.example"
