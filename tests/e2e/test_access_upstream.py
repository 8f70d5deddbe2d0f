"""What upstreams are told of callers, and tokens whose issuer's keys come from a URL."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton

from modelward.access import keys
from tests.conftest import Serve
from tests.e2e.test_access import OK, PERMISSION_DENIED, ROW, UNAUTHENTICATED, bearer, infer, infer_on, token_settings
from tests.e2e.test_relay import TIMEOUT, UNKNOWN, asked, echo, in_front, listening, stream, thrice
from tests.e2e.test_relay import Peer as Upstream
from tests.key_server import KeyServer, key_server
from tests.models import add_one
from tests.support import EmbeddedServer, reloadable, wait_until
from tests.tokens import Issuer

EVERYTHING = ["infer", "stream", "metadata", "passthrough"]


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.add_key("one")
    return issuer


# ---- upstreams -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forwards", [False, True])
def test_an_upstream_learns_who_calls_and_no_secret_it_was_not_meant_to(
    issuer: Issuer, tmp_path: Path, forwards: bool
) -> None:
    key, text = keys.make("josé")
    with keys.editing(tmp_path / "keys.json") as kept:
        kept[key.id] = key
    access = {
        "jwt": token_settings(issuer.publish(tmp_path / "jwks.json")),
        "keys": str(tmp_path / "keys.json"),
        "rules": [{"identity": "*", "models": "*", "methods": EVERYTHING}],
        "forward_credentials": forwards,
    }
    lie = (
        ("modelward-identity", "root"),
        ("modelward-identity-kind", "certificate"),
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("authorization-bin", b"root"),
        ("x-api-key-bin", b"root"),
        ("x_api_key", "root"),
        ("authorization_bin", "root"),
        ("x_api_key_bin", "root"),
    )
    token = issuer.token("spiffe://prod/a")
    upstream = Upstream(thrice)
    with (
        listening(upstream) as (address, _),
        in_front(upstreams=f"[{address}]", access=access) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        for metadata, name, kind in (
            (bearer(token), "spiffe://prod/a", "token"),
            ((("x-api-key", text),), "jos%C3%A9", "key"),
            (bearer(text), "jos%C3%A9", "key"),
        ):
            list(stream(channel)(iter([asked()]), timeout=TIMEOUT, metadata=(*lie, *metadata)))
            seen = upstream.seen
            assert seen["modelward-identity"] == name, "and not what the client says"
            assert seen["modelward-identity-kind"] == kind
            assert not {"x-api-key", "x-forwarded-for", "forwarded"} & seen.keys()
            assert (
                not {"authorization-bin", "x-api-key-bin", "x_api_key", "authorization_bin", "x_api_key_bin"}
                & seen.keys()
            )
            assert text not in str(seen)
            sent_on = f"Bearer {token}" if forwards and metadata == bearer(token) else None
            assert seen.get("authorization") == sent_on


def test_an_upstream_that_a_reload_brings_learns_who_calls_on_a_stream_opened_before(tmp_path: Path) -> None:
    key, text = keys.make("alice")
    with keys.editing(tmp_path / "keys.json") as kept:
        kept[key.id] = key
    access = {"keys": str(tmp_path / "keys.json"), "rules": [{"identity": "*", "models": "*"}]}
    upstream = Upstream(thrice)
    with (
        listening(upstream) as (address, _),
        reloadable(tmp_path / "repository", {"add": add_one()}, access=access) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        sent: queue.Queue[Any] = queue.Queue()
        sent.put(asked(model="add"))
        call = stream(channel)(iter(sent.get, None), timeout=TIMEOUT, metadata=(("x-api-key", text),))
        assert not next(call).error_message
        server.reload(models__decoupled__upstreams=f"[{address}]")
        sent.put(asked())
        assert not next(call).error_message
        sent.put(None)
        assert [upstream.seen.get(f"modelward-identity{suffix}") for suffix in ("", "-kind")] == ["alice", "key"]


def test_what_passes_through_needs_a_rule_that_says_so(issuer: Issuer, tmp_path: Path) -> None:
    access = {
        "jwt": token_settings(issuer.publish(tmp_path / "jwks.json")),
        "rules": [
            {"identity": "admin", "models": "*", "methods": ["passthrough"]},
            {"identity": "user", "models": "*"},
        ],
    }
    upstream = Upstream(echo)
    with (
        listening(upstream) as (address, _),
        in_front(upstreams=f"[{address}]", access=access, passthrough="true") as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        call = channel.unary_unary(UNKNOWN)
        assert call(b"ask", timeout=TIMEOUT, metadata=bearer(issuer.token("admin"))) == b"ask"
        assert upstream.seen["modelward-identity"] == "admin"
        assert upstream.seen["modelward-identity-kind"] == "token"
        for metadata, code in ((bearer(issuer.token("user")), PERMISSION_DENIED), ((), UNAUTHENTICATED)):
            with pytest.raises(grpc.RpcError) as error:
                call(b"ask", timeout=TIMEOUT, metadata=metadata)
            assert error.value.code() is code


# ---- keys from a URL -------------------------------------------------------------------------------------------


@pytest.fixture
def published(issuer: Issuer) -> Iterator[KeyServer]:
    with key_server(issuer.key_set()) as server:
        yield server


@pytest.fixture
def by_url(serve: Serve, published: KeyServer) -> EmbeddedServer:
    jwt = token_settings(Path("unused"), refresh="1h") | {"jwks": published.url}
    return serve({"add": add_one()}, access={"jwt": jwt, "rules": [{"identity": "*", "models": "add"}]})


def test_a_token_with_a_new_key_makes_its_issuer_be_asked(
    by_url: EmbeddedServer, issuer: Issuer, published: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert infer(by_url, bearer(issuer.token("a")))[0] is OK
    issuer.add_key("two")
    published.document = issuer.key_set()
    new = bearer(issuer.token("a", "two"))
    assert infer(by_url, new)[0] is UNAUTHENTICATED, "the issuer was asked a moment ago"
    assert published.asked == 1
    monkeypatch.setattr("modelward.access.key_sets.LEAST_SECONDS", 0.0)
    newer = bearer(issuer.token("b", "two"))
    assert infer(by_url, newer)[0] is OK
    assert published.asked == 2
    assert infer(by_url, new)[0] is OK, "what was refused for want of the key is no longer"


def test_others_go_on_while_an_issuer_is_asked(
    by_url: EmbeddedServer, issuer: Issuer, published: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelward.access.key_sets.LEAST_SECONDS", 0.0)
    issuer.add_key("two")
    published.document = issuer.key_set()
    published.delay = threading.Event()
    with grpc.insecure_channel(by_url.grpc) as channel:
        told: list[grpc.StatusCode] = []
        new = bearer(issuer.token("a", "two"))
        waiting = threading.Thread(target=lambda: told.append(infer_on(channel, new)[0]))
        waiting.start()
        wait_until(lambda: published.asked == 2, "the issuer is asked")
        assert infer(by_url, bearer(issuer.token("b", "one")))[0] is OK
        assert not told
        published.delay.set()
        waiting.join(TIMEOUT)
    assert told == [OK]


def test_known_keys_go_on_while_the_issuer_is_away(
    by_url: EmbeddedServer, issuer: Issuer, published: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelward.access.key_sets.LEAST_SECONDS", 0.0)
    published.status = 503
    stranger = Issuer()
    stranger.add_key("other")
    assert infer(by_url, bearer(stranger.token("a")))[0] is UNAUTHENTICATED
    assert by_url.metric("modelward_access_key_set_failures_total") == 1
    assert infer(by_url, bearer(issuer.token("a")))[0] is OK


def test_an_issuer_that_was_never_reached_is_no_reason_to_let_anybody_in(
    serve: Serve, issuer: Issuer, published: KeyServer
) -> None:
    published.status = 503
    jwt = token_settings(Path("unused")) | {"jwks": published.url}
    server = serve({"add": add_one()}, access={"jwt": jwt, "rules": [{"identity": "*", "models": "add"}]})
    code, message = infer(server, bearer(issuer.token("a")))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "http" not in message and "localhost" not in message


# ---- clients as they are ---------------------------------------------------------------------------------------


def test_tritonclient_brings_a_token_as_a_header(serve: Serve, issuer: Issuer, tmp_path: Path) -> None:
    access = {
        "jwt": token_settings(issuer.publish(tmp_path / "jwks.json")),
        "rules": [{"identity": "team", "models": "add"}],
    }
    server = serve({"add": add_one()}, access=access)
    headers = {"authorization": f"Bearer {issuer.token('team')}"}
    with triton.InferenceServerClient(server.grpc) as client:
        assert client.is_server_live() and client.is_model_ready("add"), "health asks for nothing"
        given = triton.InferInput("x", list(ROW.shape), "FP32")
        given.set_data_from_numpy(ROW)
        assert client.infer("add", [given], headers=headers).as_numpy("y").tolist() == (ROW + 1).tolist()
        assert client.get_model_metadata("add", headers=headers).name == "add"
        with pytest.raises(triton.InferenceServerException, match="wants to know who calls"):
            client.infer("add", [given])
