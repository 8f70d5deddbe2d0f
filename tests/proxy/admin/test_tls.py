"""mTLS of the admin API: who is let in, and files that change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.x509.oid import NameOID

from modelward.admin.context import Context
from modelward.admin.operator import Status
from modelward.admin.server import AdminServer
from modelward.config.operators import Operators
from modelward.config.tls import AdminTls
from modelward.operators import authenticate
from modelward.operators.denials import FIRST
from modelward.problem import ProblemsFound
from modelward.rpc.protocol import Message
from modelward_native.wire.call import Call
from tests.certificates import authority_file, credentials, issue, write_pair
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
            while await code(server, new) is not grpc.StatusCode.OK:  # files are looked at once a second
                await asyncio.sleep(0.05)
            assert await code(server, old) is grpc.StatusCode.UNAVAILABLE
        finally:
            await server.stop()

    asyncio.run(main())


def test_strangers_who_say_nothing_keep_no_operator_out(tls: AdminTls, authority: trustme.CA) -> None:
    async def main() -> None:
        server = await AdminServer.start(ANYWHERE, tls, Played())
        ours = credentials(authority, authority.issue_cert(OPERATOR))
        host, port = server.address.host, server.address.port
        silent = []
        try:
            for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"):  # the operator's own address is one
                silent += [await asyncio.open_connection(host, port, local_addr=(source, 0)) for _ in range(80)]
            began = asyncio.get_running_loop().time()
            assert [await code(server, ours) for _ in range(3)] == [grpc.StatusCode.OK] * 3
            assert asyncio.get_running_loop().time() - began < 4, "they were waited for"
        finally:
            for _, writer in silent:
                writer.transport.abort()
            await server.stop()

    asyncio.run(main())


def test_what_a_certificate_says_is_told(tls: AdminTls, authority: trustme.CA) -> None:
    class Seen(Played):
        def status(self) -> Status:
            seen.append(contexts[-1].certificate())
            return super().status()

    seen: list[Mapping[str, Any]] = []
    contexts: list[Context] = []

    async def main(patch: pytest.MonkeyPatch) -> None:
        original = Context.__init__

        def note(self: Context, call: Call) -> None:
            original(self, call)
            contexts.append(self)

        patch.setattr(Context, "__init__", note)
        server = await AdminServer.start(ANYWHERE, tls, Seen())
        try:
            ours = issue(authority, x509.DNSName("ops.test"), common_name="ops")
            assert await code(server, credentials(authority, ours)) is grpc.StatusCode.OK
        finally:
            await server.stop()

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(main(patch))
    (told,) = seen
    assert (told["subjectAltName"], told["subject"]) == ((("DNS", "ops.test"),), ((("commonName", "ops"),),))


def test_files_that_cannot_serve_are_told_at_the_start(tls: AdminTls) -> None:
    tls.client_ca.write_text("no certificate")
    with pytest.raises(ProblemsFound, match=r"admin_tls\.client_ca holds no certificate"):
        asyncio.run(AdminServer.start(ANYWHERE, tls, Played()))


def test_the_end_of_a_certificate_and_its_issuer_are_told(
    tls: AdminTls, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> Message:
        server = await AdminServer.start(ANYWHERE, tls, Played(), Operators())
        shown = credentials(authority, issue(authority, x509.DNSName("ops.test"), seconds=3600))
        options = [("grpc.ssl_target_name_override", SERVER)]
        try:
            async with grpc.aio.secure_channel(str(server.address), shown, options=options) as channel:
                me = await method(channel, "WhoAmI")()
                later = time.time() + 3601
                monkeypatch.setattr(authenticate, "time", SimpleNamespace(time=lambda: later))
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await method(channel, "WhoAmI")()
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
                assert refused.value.details() == "the certificate has expired"
                return me
        finally:
            await server.stop()

    me: Any = asyncio.run(main())
    assert (me.name, me.proof, me.configured, [*me.grants]) == ("ops.test", "certificate", True, [])
    assert "trustme" in me.issuer


@pytest.mark.parametrize(
    "names",
    [
        [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ada")]))],
        [x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x03ada")],
        [x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))],
        [x509.DNSName("spiffe://prod/oncall/x")],
        [x509.UniformResourceIdentifier("spiffe://prod/oncall/x"), x509.UniformResourceIdentifier("spiffe://dev/y")],
        [],
    ],
)
def test_certificates_without_one_clear_name_are_refused_and_told(
    tls: AdminTls, authority: trustme.CA, caplog: pytest.LogCaptureFixture, names: list[x509.GeneralName]
) -> None:
    bound = {"certificate": "spiffe://prod/oncall/*", "roles": ["viewer"]}

    async def main() -> list[grpc.StatusCode]:
        server = await AdminServer.start(ANYWHERE, tls, Played(), Operators.model_validate({"bindings": [bound]}))
        try:
            return [
                await code(server, credentials(authority, issue(authority, *each, common_name="ada")))
                for each in (names, [x509.UniformResourceIdentifier("spiffe://prod/oncall/x")])
            ]
        finally:
            await server.stop()

    assert asyncio.run(main()) == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.OK]
    (told,) = [each.getMessage() for each in caplog.records if each.name == "modelward.operators"]
    assert told.startswith("status of 127.0.0.1 is refused: the certificate has ")


def test_a_credential_that_cannot_be_read_is_refused_and_told_with_bounds(
    tls: AdminTls, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> str:
        raise AttributeError("secret")

    async def main() -> list[grpc.aio.AioRpcError]:
        server = await AdminServer.start(ANYWHERE, tls, Played(), Operators())
        refused = []
        options = [("grpc.ssl_target_name_override", SERVER)]
        try:
            shown = credentials(authority, authority.issue_cert("ops.test"))
            async with grpc.aio.secure_channel(str(server.address), shown, options=options) as channel:
                for _ in range(FIRST + 5):
                    with pytest.raises(grpc.aio.AioRpcError) as told:
                        await method(channel, "Status")()
                    refused.append(told.value)
        finally:
            await server.stop()
        return refused

    monkeypatch.setattr(authenticate, "of_certificate", fail)
    for each in asyncio.run(main()):
        assert each.code() is grpc.StatusCode.UNAUTHENTICATED
        assert each.details() == "the credential cannot be read (AttributeError)"
    told = [each for each in caplog.records if "is refused" in each.getMessage()]
    assert len(told) == FIRST
    assert not [each for each in caplog.records if each.levelname == "ERROR"]
