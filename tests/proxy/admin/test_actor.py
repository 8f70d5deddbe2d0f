"""Who is recorded as the one that asked for something."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from modelward.admin.actor import LONGEST, actor_of
from modelward.admin.server import AdminServer
from modelward.config.address import Address
from modelward.config.tls import AdminTls
from tests.certificates import authority_file, credentials, write_pair
from tests.proxy.admin.test_server import ANYWHERE, Played, method

End = tuple[str, int]
Ends = tuple[End, End]


class Context:
    def __init__(self, ends: Ends | None, certificate: Mapping[str, Any] | None = None) -> None:
        self._ends = ends
        self._certificate = certificate or {}

    def ends(self) -> Ends | None:
        return self._ends

    def uid(self) -> int | None:
        return None

    def certificate(self) -> Mapping[str, Any]:
        return self._certificate


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


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_on_this_machines_own_addresses_it_is_the_user_whose_socket_it_is(
    family: socket.AddressFamily, host: str
) -> None:
    try:
        listening = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("no such address here")
    with listening, socket.create_connection(listening.getsockname()[:2]) as client:
        theirs, ours = (end[:2] for end in (client.getsockname(), listening.getsockname()))
        assert f"uid {os.getuid()}" in actor_of(Context((theirs, ours)))
        another = (ours[0], ours[1] % 65535 + 1)
        assert actor_of(Context((theirs, another))) == f"local {host}", "a connection with something else"
    assert actor_of(Context((theirs, ours))) == f"local {host}", "it is closed"


def test_the_owner_of_the_same_port_on_another_address_is_not_taken_for_it() -> None:
    with socket.create_server(("127.0.0.2", 0)) as other, socket.create_connection(other.getsockname()) as elsewhere:
        port = elsewhere.getsockname()[1]
        assert actor_of(Context((("127.0.0.1", port), ("127.0.0.1", other.getsockname()[1])))) == "local 127.0.0.1"


HERE = ("192.0.2.1", 8003)


@pytest.mark.parametrize(
    ("ends", "actor"),
    [
        ((("192.0.2.7", 99), HERE), "address 192.0.2.7"),
        ((("::ffff:192.0.2.7", 9), HERE), "address 192.0.2.7"),
        (None, "local"),
    ],
)
def test_else_it_is_the_address(ends: Ends | None, actor: str) -> None:
    assert actor_of(Context(ends)) == actor


def test_of_a_certificate_its_uri_comes_before_other_names() -> None:
    def of(*names: tuple[str, Any], common: str = "x") -> str:
        return actor_of(Context(None, {"subject": ((("commonName", common),),), "subjectAltName": names}))

    dns = ("DNS", "ops.example")
    assert of(dns, ("URI", "spiffe://example/ops")) == "certificate spiffe://example/ops"
    assert of(dns) == "certificate ops.example"
    assert of(common="al\x1bice") == "certificate al?ice"
    assert len(of(common="x" * 4000)) == LONGEST
    assert of(("DNS", "spiffe://example/ops")) == "local", "it is no URI"
    assert of(("DirName", ((("commonName", "x"),),))) == "local"


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
