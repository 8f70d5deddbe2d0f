"""Calls that stay open end within a second of what let their callers in."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from cryptography import x509

from modelward.access import keys
from modelward.rpc.protocol import message_class
from tests.certificates import authority_file, credentials, issue, write_pair
from tests.conftest import Serve
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import INFER, REQUEST, RESPONSE, STREAM_INFER, STREAM_RESPONSE, request
from tests.e2e.test_access import OK, ROW, UNAUTHENTICATED, bearer, infer, token_settings
from tests.e2e.test_relay import UNKNOWN, Peer, asked, echo, in_front, listening, thrice
from tests.models import add_one
from tests.support import EmbeddedServer, reloadable, wait_until
from tests.tokens import Issuer

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
TIMEOUT = 30.0
LIFE = 5  # seconds, in which even a busy machine opens a call
SLACK = 10.0  # a second, and what such a machine adds
RULES = [{"identity": "*", "models": "*", "methods": ["infer", "stream", "metadata", "passthrough"]}]


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.add_key("one")
    return issuer


def opened(channel: grpc.Channel, kind: str, metadata: Any = ()) -> tuple[Any, queue.Queue[Any]]:
    """A call of that kind with one answer taken, and where its next messages go."""
    sent: queue.Queue[Any] = queue.Queue()
    messages = iter(sent.get, None)
    if kind == "reflection":
        asks = message_class("grpc.reflection.v1.ServerReflectionRequest")
        sent.put(asks(list_services="").SerializeToString())
        call = channel.stream_stream(REFLECTION)(messages, timeout=TIMEOUT, metadata=metadata)
    elif kind == "passed through":
        sent.put(b"first")
        call = channel.stream_stream(UNKNOWN)(messages, timeout=TIMEOUT, metadata=metadata)
    else:
        serialize, parse = REQUEST.SerializeToString, STREAM_RESPONSE.FromString
        sent.put(asked() if kind == "relayed" else request("add", {"x": ROW}))
        call = channel.stream_stream(STREAM_INFER, serialize, parse)(messages, timeout=TIMEOUT, metadata=metadata)
    next(call)
    return call, sent


def ending(call: Any) -> tuple[grpc.StatusCode, str]:
    """How the call ends without a further message of its client."""
    with pytest.raises(grpc.RpcError) as error:
        while True:
            next(call)
    return error.value.code(), error.value.details()


@pytest.fixture(params=["embedded", "reflection", "relayed", "passed through"])
def guarded(
    request: pytest.FixtureRequest, serve: Serve, issuer: Issuer, tmp_path: Path
) -> Iterator[tuple[str, EmbeddedServer, Peer | None]]:
    """The kind of a call, a server that takes it from callers with a token or a key, and its upstream."""
    key, text = keys.make("job")
    with keys.editing(tmp_path / "keys.json") as kept:
        kept[key.id] = key
    (tmp_path / "key").write_text(text)
    jwt = token_settings(issuer.publish(tmp_path / "jwks.json"), leeway="1ms")
    access = {"jwt": jwt, "keys": str(tmp_path / "keys.json"), "rules": RULES}
    if request.param in ("embedded", "reflection"):
        yield request.param, serve({"add": add_one()}, access=access), None
        return
    peer = Peer(thrice if request.param == "relayed" else echo)
    with (
        listening(peer) as (address, _),
        in_front(upstreams=f"[{address}]", access=access, passthrough="true") as server,
    ):
        yield request.param, server, peer


def test_an_open_call_ends_with_its_token(guarded: Any, issuer: Issuer) -> None:
    kind, server, peer = guarded
    expires = int(time.time()) + LIFE
    with grpc.insecure_channel(server.grpc) as channel:
        call, sent = opened(channel, kind, bearer(issuer.token("a", exp=expires)))
        code, text = ending(call)
        assert time.time() - expires < SLACK
        sent.put(None)
    assert (code, "expired" in text) == (UNAUTHENTICATED, True)
    if kind == "relayed":
        assert peer.ended.wait(TIMEOUT), "the upstream's call ends too"


def test_a_request_whose_message_has_not_come_ends_with_its_token(serve: Serve, issuer: Issuer, tmp_path: Path) -> None:
    access = {"jwt": token_settings(issuer.publish(tmp_path / "jwks.json"), leeway="1ms"), "rules": RULES}
    server = serve({"add": add_one()}, access=access)
    expires = int(time.time()) + LIFE
    never = queue.Queue[Any]()
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_unary(INFER, REQUEST.SerializeToString, RESPONSE.FromString).future(
            iter(never.get, None), timeout=TIMEOUT, metadata=bearer(issuer.token("a", exp=expires))
        )
        error = call.exception()
        assert time.time() - expires < SLACK
        never.put(None)
    assert (error.code(), "expired" in error.details()) == (UNAUTHENTICATED, True)


@pytest.mark.parametrize("path", [INFER, STREAM_INFER])
def test_a_message_of_an_anonymous_caller_is_refused_when_the_rule_for_them_has_gone(tmp_path: Path, path: str) -> None:
    key, _ = keys.make("job")
    with keys.editing(tmp_path / "keys.json") as kept:
        kept[key.id] = key
    anonymous = {"anonymous": True, "models": "*"}
    access = {"keys": str(tmp_path / "keys.json"), "rules": [*RULES, anonymous]}
    body = framed(request("add", {"x": ROW}).SerializeToString())
    with (
        reloadable(tmp_path / "repository", {"add": add_one()}, access=access) as server,
        H2Client(server.grpc) as client,
    ):
        stream = client.begin(path, [("modelward-shadow", "1")])
        client.send(stream, body[:10])
        server.reload(access=access | {"rules": RULES})
        client.send(stream, body[10:], end=True)
        reply = client.reply(stream)
        if path == INFER or reply.code:
            assert reply.reason == "UNAUTHENTICATED"
        else:
            assert "revoked" in STREAM_RESPONSE.FromString(reply.messages[0][1]).error_message
        assert client.call(body).reason == "UNAUTHENTICATED", "the server goes on"


def test_an_open_call_ends_when_its_key_is_taken_out_of_the_file(guarded: Any, tmp_path: Path) -> None:
    kind, server, _ = guarded
    with grpc.insecure_channel(server.grpc) as channel:
        call, sent = opened(channel, kind, (("x-api-key", (tmp_path / "key").read_text()),))
        with keys.editing(tmp_path / "keys.json") as kept:
            kept.clear()
        code, text = ending(call)
        sent.put(None)
    assert (code, "revoked" in text) == (UNAUTHENTICATED, True)


def test_an_open_call_ends_when_a_key_of_its_issuer_is_withdrawn_and_not_when_one_is_added(
    serve: Serve, issuer: Issuer, tmp_path: Path
) -> None:
    jwt = token_settings(issuer.publish(tmp_path / "jwks.json"))
    server = serve({"add": add_one()}, access={"jwt": jwt, "rules": RULES})
    with grpc.insecure_channel(server.grpc) as channel:
        call, sent = opened(channel, "embedded", bearer(issuer.token("a")))
        issuer.add_key("two")
        issuer.publish(tmp_path / "jwks.json")
        new = bearer(issuer.token("b", "two"))
        wait_until(lambda: infer(server, new)[0] is OK, "the new key counts")
        sent.put(request("add", {"x": ROW}))
        assert next(call).error_message == ""
        del issuer.keys["one"]
        issuer.publish(tmp_path / "jwks.json")
        code, text = ending(call)
        sent.put(None)
    assert (code, "withdrawn" in text) == (UNAUTHENTICATED, True)


def test_an_open_call_ends_with_the_certificate_of_its_connection(serve: Serve, tmp_path: Path) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    pair = write_pair(authority.issue_cert("localhost", "127.0.0.1"), tmp_path, "server")
    trusted = authority_file(clients, tmp_path / "clients.pem")
    tls = {"certificate": str(pair.certificate), "key": str(pair.key), "client_ca": str(trusted)}
    server = serve({"add": add_one()}, tls=tls, access={"certificates": True, "rules": RULES})
    shown = issue(clients, x509.DNSName("client.example"), seconds=7)
    with grpc.secure_channel(server.grpc, credentials(authority, shown)) as channel:
        call, sent = opened(channel, "embedded")
        code, text = ending(call)
        sent.put(None)
    assert (code, "certificate" in text) == (UNAUTHENTICATED, True)
