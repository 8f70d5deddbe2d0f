"""Callers known by their certificates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from cryptography import x509

from modelward.access import keys
from tests.certificates import NO_TEXT, authority_file, credentials, issue, write_pair
from tests.conftest import Serve
from tests.e2e.test_access import (
    OK,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    Metadata,
    bearer,
    infer_on,
    token_settings,
)
from tests.models import add_one, repository
from tests.support import Server, serve_process, wait_until
from tests.tokens import Issuer

RULES = [
    {"identity": "spiffe://prod/*", "models": "add"},
    {"identity": "client.example", "models": "add"},
    {"identity": "team", "models": "add"},
]
SPIFFE = x509.UniformResourceIdentifier("spiffe://prod/ns/a/sa/b")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def clients() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, clients: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    pair = write_pair(authority.issue_cert("localhost", "127.0.0.1"), tmp_path, "server")
    trusted = authority_file(clients, tmp_path / "clients.pem")
    return {"certificate": str(pair.certificate), "key": str(pair.key), "client_ca": str(trusted)}


def infer(
    server: Server, authority: trustme.CA, shown: trustme.LeafCert | None = None, metadata: Metadata = ()
) -> tuple[grpc.StatusCode, str]:
    with grpc.secure_channel(server.grpc, credentials(authority, shown)) as channel:
        return infer_on(channel, metadata)


def test_a_spiffe_id_is_an_identity(
    serve: Serve, tls: dict[str, Any], authority: trustme.CA, clients: trustme.CA
) -> None:
    server = serve({"add": add_one()}, tls=tls, access={"certificates": True, "rules": RULES})
    assert infer(server, authority, issue(clients, SPIFFE)) == (OK, "")
    elsewhere = x509.UniformResourceIdentifier("spiffe://test/ns/a/sa/b")
    assert infer(server, authority, issue(clients, elsewhere))[0] is PERMISSION_DENIED
    assert infer(server, authority, issue(clients, x509.DNSName("client.example")))[0] is OK
    assert infer(server, authority)[0] is UNAUTHENTICATED
    assert infer(server, authority, issue(clients, common_name="client.example"))[0] is UNAUTHENTICATED
    assert infer(server, authority, issue(clients, SPIFFE, elsewhere))[0] is UNAUTHENTICATED, "which of the two?"


def test_a_certificate_whose_names_are_no_text_is_refused_and_fills_no_log(
    tls: dict[str, Any], authority: trustme.CA, clients: trustme.CA, tmp_path: Path
) -> None:
    root = repository(tmp_path / "models", {"add": add_one()})
    access = {"certificates": True, "rules": RULES}
    with serve_process(root, "--set", f"tls={json.dumps(tls)}", "--set", f"access={json.dumps(access)}") as server:
        for _ in range(10):
            assert infer(server, authority, issue(clients, raw_name=NO_TEXT))[0] is grpc.StatusCode.UNAVAILABLE
        wait_until(lambda: server.metric("modelward_tls_handshake_failures_total") >= 10, "them to be counted")
        assert infer(server, authority, issue(clients, SPIFFE))[0] is OK
        output = "".join(server.output)
        assert "Traceback" not in output
        assert output.count("a connection was given up") == 1


def test_certificates_are_no_identities_unless_they_are_said_to_be(
    serve: Serve, tls: dict[str, Any], authority: trustme.CA, clients: trustme.CA
) -> None:
    rules = [*RULES, {"anonymous": True, "models": "none"}]
    server = serve({"add": add_one()}, tls=tls, access={"rules": rules})
    assert infer(server, authority, issue(clients, SPIFFE))[0] is PERMISSION_DENIED


def test_a_token_says_more_than_the_certificate_of_its_connection(
    serve: Serve, tls: dict[str, Any], authority: trustme.CA, clients: trustme.CA, tmp_path: Path
) -> None:
    issuer = Issuer()
    issuer.add_key("one")
    access = {
        "certificates": True,
        "jwt": token_settings(issuer.publish(tmp_path / "jwks.json")),
        "rules": RULES,
    }
    server = serve({"add": add_one()}, tls=tls, access=access)
    mesh = issue(clients, SPIFFE)
    assert infer(server, authority, mesh)[0] is OK
    assert infer(server, authority, mesh, bearer(issuer.token("stranger")))[0] is PERMISSION_DENIED
    assert infer(server, authority, mesh, bearer("bad"))[0] is UNAUTHENTICATED, "the certificate is no second try"
    other = issue(clients, x509.UniformResourceIdentifier("spiffe://test/a"))
    assert infer(server, authority, other, bearer(issuer.token("team")))[0] is OK


def test_a_certificate_and_a_key_of_one_name_have_a_budget_each(
    serve: Serve, tls: dict[str, Any], authority: trustme.CA, clients: trustme.CA, tmp_path: Path
) -> None:
    key, text = keys.make("client.example")
    with keys.editing(tmp_path / "keys.json") as kept:
        kept[key.id] = key
    access = {"certificates": True, "keys": str(tmp_path / "keys.json"), "rules": RULES}
    limit = {"rate": "1/h", "burst": 1}
    server = serve({"add": add_one()}, tls=tls, access=access, limits__identity=limit)
    shown = issue(clients, x509.DNSName("client.example"))
    assert infer(server, authority, shown)[0] is OK
    assert infer(server, authority, None, bearer(text))[0] is OK
    assert infer(server, authority, shown)[0] is RESOURCE_EXHAUSTED
    assert infer(server, authority, None, bearer(text))[0] is RESOURCE_EXHAUSTED


def test_an_open_connection_is_known_no_longer_than_its_certificate_is_good(
    serve: Serve, tls: dict[str, Any], authority: trustme.CA, clients: trustme.CA
) -> None:
    server = serve({"add": add_one()}, tls=tls, access={"certificates": True, "rules": RULES})
    shown = issue(clients, SPIFFE, seconds=7)
    with grpc.secure_channel(server.grpc, credentials(authority, shown)) as channel:
        assert infer_on(channel)[0] is OK

        def refused() -> str:
            code, message = infer_on(channel)
            return "" if code is OK else message

        message = wait_until(refused, "the certificate expires")
        assert "no longer counts" in message or "certificate" in message.lower()


def test_an_authority_that_is_no_longer_trusted_takes_its_open_connections_with_it(
    serve: Serve, tls: dict[str, Any], authority: trustme.CA, clients: trustme.CA, tmp_path: Path
) -> None:
    server = serve({"add": add_one()}, tls=tls, access={"certificates": True, "rules": RULES})
    new = trustme.CA()
    with grpc.secure_channel(server.grpc, credentials(authority, issue(clients, SPIFFE))) as channel:
        assert infer_on(channel)[0] is OK
        authority_file(new, tmp_path / "clients.pem")
        wait_until(lambda: infer_on(channel)[0] is not OK, "the connection counts no more")
    assert infer(server, authority, issue(new, SPIFFE))[0] is OK
