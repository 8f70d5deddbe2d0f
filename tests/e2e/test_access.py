"""Who may call what, with grpcio's client: tokens, API keys, and no credential at all."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import logging
import time
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization

from modelward.access import keys
from modelward.rpc.protocol import message_class
from tests.conftest import Serve
from tests.e2e.messages import RESPONSE, request
from tests.models import add_one
from tests.support import EmbeddedServer, wait_until
from tests.tokens import AUDIENCE, ISSUER, Issuer

SERVICE = "/inference.GRPCInferenceService"
ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
TIMEOUT = 20.0
OK = grpc.StatusCode.OK
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
ALL = ["infer", "stream", "metadata", "statistics", "repository"]

Metadata = tuple[tuple[str, str], ...]


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def infer_on(channel: grpc.Channel, metadata: Metadata = (), model: str = "add") -> tuple[grpc.StatusCode, str]:
    """The status code, and the message of an error."""
    call = channel.unary_unary(
        f"{SERVICE}/ModelInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=RESPONSE.FromString,
    )
    try:
        call(request(model, {"x": ROW}), timeout=TIMEOUT, metadata=metadata)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return OK, ""


def infer(server: EmbeddedServer, metadata: Metadata = (), model: str = "add") -> tuple[grpc.StatusCode, str]:
    with grpc.insecure_channel(server.grpc) as channel:
        return infer_on(channel, metadata, model)


def cold(server: EmbeddedServer, method: str, metadata: Metadata = (), **fields: Any) -> Any:
    """The answer, or the status code of an error."""
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(
            f"{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class(f"inference.{method}Response").FromString,
        )
        try:
            return call(message_class(f"inference.{method}Request")(**fields), timeout=TIMEOUT, metadata=metadata)
        except grpc.RpcError as error:
            return error.code()


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.add_key("one")
    return issuer


@pytest.fixture
def by_token(serve: Serve, issuer: Issuer, tmp_path: Path) -> EmbeddedServer:
    """A server on which any token of the issuer opens the model `add`."""
    settings = token_settings(issuer.publish(tmp_path / "jwks.json"), algorithms=["RS256", "ES256", "EdDSA"])
    return serve({"add": add_one()}, access={"jwt": settings, "rules": [{"identity": "*", "models": "add"}]})


def token_settings(file: Path, **more: Any) -> dict[str, Any]:
    return {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(file), **more}


def checked(server: EmbeddedServer, result: str) -> float:
    return server.metric("modelward_access_credentials_total", result=result)


# ---- rules -----------------------------------------------------------------------------------------------------


def test_a_token_opens_what_its_rule_allows_and_nothing_else(serve: Serve, issuer: Issuer, tmp_path: Path) -> None:
    file = issuer.publish(tmp_path / "jwks.json")
    rules = [{"identity": "team-*", "models": ["add"]}, {"identity": "team-b", "models": "*", "methods": "infer"}]
    server = serve({"add": add_one(), "other": add_one()}, access={"jwt": token_settings(file), "rules": rules})
    team_a, team_b, stranger = (bearer(issuer.token(sub)) for sub in ("team-a", "team-b", "stranger"))
    assert infer(server, team_a) == (OK, "")
    assert infer(server, team_a) == (OK, "")
    assert infer(server, team_a, "other")[0] is PERMISSION_DENIED
    assert infer(server, team_b, "other")[0] is OK
    assert infer(server, stranger)[0] is PERMISSION_DENIED
    assert infer(server)[0] is UNAUTHENTICATED
    assert server.metric("modelward_refusals_total", reason="UNAUTHENTICATED") == 1
    assert server.metric("modelward_refusals_total", reason="PERMISSION_DENIED") == 2
    assert checked(server, "checked") == 3
    assert checked(server, "known") == 2


def test_health_is_open_to_everybody_and_nothing_else_is(by_token: EmbeddedServer) -> None:
    assert cold(by_token, "ServerLive").live
    assert cold(by_token, "ServerReady").ready
    assert cold(by_token, "ModelReady", name="add").ready
    for method in ("ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics", "RepositoryIndex"):
        assert cold(by_token, method) is UNAUTHENTICATED
    with grpc.insecure_channel(by_token.grpc) as channel:
        for path, answer in (
            ("/grpc.health.v1.Health/Check", OK),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", UNAUTHENTICATED),
            ("/inference.GRPCInferenceService/RepositoryModelLoad", UNAUTHENTICATED),
            ("/inference.GRPCInferenceService/ModelStreamInfer", UNAUTHENTICATED),
        ):
            call = channel.stream_stream(path)(iter([b""]), timeout=TIMEOUT)
            assert _code_of(call) is answer, path
    assert by_token.page("/metrics")[0] == 200


def _code_of(call: Any) -> grpc.StatusCode:
    with contextlib.suppress(grpc.RpcError):
        list(call)
    code: grpc.StatusCode = call.code()
    return code


def test_a_name_that_is_not_served_tells_strangers_no_more_than_one_that_is(
    serve: Serve, issuer: Issuer, tmp_path: Path
) -> None:
    file = issuer.publish(tmp_path / "jwks.json")
    rules = [{"identity": "some", "models": "add", "methods": ALL}, {"identity": "all", "models": "*", "methods": ALL}]
    server = serve({"add": add_one(), "secret": add_one()}, access={"jwt": token_settings(file), "rules": rules})
    some, everything = bearer(issuer.token("some")), bearer(issuer.token("all"))
    assert infer(server, some, "secret") == infer(server, some, "secret")
    assert infer(server, some, "secret")[0] is PERMISSION_DENIED
    assert "did you mean" in infer(server, everything, "secreet")[1]
    for method in ("ModelMetadata", "ModelConfig", "ModelStatistics"):
        assert cold(server, method, some, name="secret") is PERMISSION_DENIED
        assert cold(server, method, some, name="secreet") is PERMISSION_DENIED
        assert cold(server, method, everything, name="secreet") is grpc.StatusCode.NOT_FOUND
    assert [m.name for m in cold(server, "RepositoryIndex", some).models] == ["add"]
    assert [m.name for m in cold(server, "RepositoryIndex", everything).models] == ["add", "secret"]
    assert [m.name for m in cold(server, "ModelStatistics", some).model_stats] == ["add"]


def test_methods_that_a_rule_does_not_name_are_refused(serve: Serve, issuer: Issuer, tmp_path: Path) -> None:
    file = issuer.publish(tmp_path / "jwks.json")
    rules = [{"identity": "reader", "models": "*", "methods": ["metadata"]}]
    server = serve({"add": add_one()}, access={"jwt": token_settings(file), "rules": rules})
    reader = bearer(issuer.token("reader"))
    assert cold(server, "ModelMetadata", reader, name="add").name == "add"
    assert infer(server, reader)[0] is PERMISSION_DENIED
    assert cold(server, "ModelStatistics", reader, name="add") is PERMISSION_DENIED
    assert cold(server, "RepositoryIndex", reader) is PERMISSION_DENIED


def test_an_anonymous_rule_is_for_those_without_a_credential_and_for_no_bad_one(
    serve: Serve, issuer: Issuer, tmp_path: Path
) -> None:
    file = issuer.publish(tmp_path / "jwks.json")
    rules = [{"anonymous": True, "models": "add"}, {"identity": "anonymous", "models": "other"}]
    server = serve({"add": add_one(), "other": add_one()}, access={"jwt": token_settings(file), "rules": rules})
    assert infer(server)[0] is OK
    assert infer(server, model="other")[0] is PERMISSION_DENIED
    assert infer(server, bearer("nonsense"))[0] is UNAUTHENTICATED
    assert infer(server, bearer(issuer.token("anonymous")))[0] is PERMISSION_DENIED, "a name is no rule of its own"


def test_a_rule_may_ask_how_an_identity_is_proved(serve: Serve, issuer: Issuer, tmp_path: Path) -> None:
    key, text = keys.make("alice")
    with keys.editing(tmp_path / "keys.json") as kept:
        kept[key.id] = key
    access = {
        "jwt": token_settings(issuer.publish(tmp_path / "jwks.json")),
        "keys": str(tmp_path / "keys.json"),
        "rules": [{"identity": "alice", "by": "key", "models": "*"}],
    }
    server = serve({"add": add_one()}, access=access)
    assert infer(server, (("x-api-key", text),))[0] is OK
    assert infer(server, bearer(issuer.token("alice")))[0] is PERMISSION_DENIED


def test_a_token_named_as_a_key_is_another_identity_with_a_budget_of_its_own(
    serve: Serve, issuer: Issuer, tmp_path: Path
) -> None:
    key, text = keys.make("ops")
    with keys.editing(tmp_path / "keys.json") as kept:
        kept[key.id] = key
    access = {
        "jwt": token_settings(issuer.publish(tmp_path / "jwks.json")),
        "keys": str(tmp_path / "keys.json"),
        "rules": [{"identity": "ops", "by": "any", "models": "*"}],
    }
    limit = {"rate": "1/h", "burst": 1, "overrides": {"ops": {"rate": "1/h", "burst": 2, "by": "key"}}}
    server = serve({"add": add_one()}, access=access, limits__identity=limit)
    token = bearer(issuer.token("ops"))
    assert [infer(server, token)[0] for _ in range(2)] == [OK, RESOURCE_EXHAUSTED]
    by_key = [infer(server, (("x-api-key", text),))[0] for _ in range(3)]
    assert by_key == [OK, OK, RESOURCE_EXHAUSTED], "its own budget, by the override that is for keys"


def test_two_credentials_of_one_identity_share_its_budget(serve: Serve, issuer: Issuer, tmp_path: Path) -> None:
    access = {
        "jwt": token_settings(issuer.publish(tmp_path / "jwks.json")),
        "rules": [{"identity": "*", "models": "*"}],
    }
    limit = {"rate": "1/h", "burst": 3}
    server = serve({"add": add_one()}, access=access, limits__identity=limit)
    one, two, other = (bearer(issuer.token(sub, jti=jti)) for sub, jti in (("a", "1"), ("a", "2"), ("b", "3")))
    codes = [infer(server, metadata)[0] for metadata in (one, two, one, two, one)]
    assert codes == [OK, OK, OK, RESOURCE_EXHAUSTED, RESOURCE_EXHAUSTED]
    assert infer(server, other)[0] is OK


def test_a_refused_caller_takes_nothing_from_the_budgets_of_others(
    serve: Serve, issuer: Issuer, tmp_path: Path
) -> None:
    access = {
        "jwt": token_settings(issuer.publish(tmp_path / "jwks.json")),
        "rules": [{"identity": "good", "models": "*"}],
    }
    limit = {"rate": "1/h", "burst": 2}
    server = serve({"add": add_one()}, access=access, limits__total=limit, models__add__limit=limit)
    for _ in range(5):
        assert infer(server)[0] is UNAUTHENTICATED
        assert infer(server, bearer(issuer.token("bad")))[0] is PERMISSION_DENIED
    good = bearer(issuer.token("good"))
    assert [infer(server, good)[0] for _ in range(3)] == [OK, OK, RESOURCE_EXHAUSTED]


def test_no_fallback_answers_whom_access_refuses(serve: Serve, issuer: Issuer, tmp_path: Path) -> None:
    access = {"jwt": token_settings(issuer.publish(tmp_path / "jwks.json"))}
    fallback = [{"value": {"y": [[0.0, 0.0, 0.0, 0.0]]}}]
    server = serve({"add": add_one()}, access=access, models__add__fallback=fallback)
    assert infer(server)[0] is UNAUTHENTICATED
    assert infer(server, bearer(issuer.token("a")))[0] is PERMISSION_DENIED


# ---- tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_signatures_of_every_default_algorithm_are_taken(serve: Serve, tmp_path: Path, algorithm: str) -> None:
    issuer = Issuer()
    issuer.add_key("k", algorithm)
    settings = token_settings(issuer.publish(tmp_path / "jwks.json"))
    server = serve({"add": add_one()}, access={"jwt": settings, "rules": [{"identity": "*", "models": "*"}]})
    assert infer(server, bearer(issuer.token("a")))[0] is OK
    assert infer(server, (("authorization", f"bearer {issuer.token('a')}"),))[0] is OK, "the scheme has no case"


def _part(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def _made_by_hand(algorithm: str, secret: bytes = b"") -> str:
    """What no library would sign: without a signature, or with an HMAC of whatever secret."""
    claims = {"sub": "a", "iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 300}
    header = {"alg": algorithm, "typ": "JWT", "kid": "one"}
    parts = [_part(json.dumps(part).encode()) for part in (header, claims)]
    digest = hmac.digest(secret, b".".join(parts), "sha256") if secret else b""
    return b".".join([*parts, _part(digest)]).decode()


def _public_key(issuer: Issuer) -> bytes:
    public = issuer.keys["one"][1].public_key()
    pem: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


def test_tokens_that_prove_nothing_are_refused(by_token: EmbeddedServer, issuer: Issuer) -> None:
    stranger = Issuer()
    stranger.add_key("one")
    good = issuer.token("a")
    head, body, signature = good.split(".")
    bad = {
        "alg none": _made_by_hand("none"),
        "alg None": _made_by_hand("None"),
        "an HMAC with the public key": _made_by_hand("HS256", _public_key(issuer)),
        "another issuer's key": stranger.token("a"),
        "another issuer": issuer.token("a", iss="https://evil.example"),
        "another audience": issuer.token("a", aud="others"),
        "no audience": issuer.token("a", aud=None),
        "no issuer": issuer.token("a", iss=None),
        "no expiry": issuer.token("a", exp=None),
        "not valid yet": issuer.token("a", nbf=int(time.time()) + 300),
        "no subject": issuer.token("a", sub=None),
        "an empty subject": issuer.token(""),
        "control characters in the subject": issuer.token("a\r\nmodelward-identity: root"),
        "a SPIFFE ID with a way up": issuer.token("spiffe://prod/a/../admin"),
        "a key id that is a path": issuer.token("a", headers={"kid": "../../../../dev/null"}),
        "a key id that is SQL": issuer.token("a", headers={"kid": "' OR 1=1 --"}),
        "critical extensions": issuer.token("a", headers={"crit": ["exp"]}),
        "a key in its header": stranger.token("a", headers={"jwk": stranger.key_set()["keys"][0], "jku": "http://127.0.0.1/"}),
        "a changed body": f"{head}.{body[:-2]}AA.{signature}",
        "a changed signature": f"{head}.{body}.{'A' * len(signature)}",
        "no signature": f"{head}.{body}.",
        "one part": head,
        "dots": "...",
        "deep nesting": f"{base64.urlsafe_b64encode(b'[' * 5000).decode().rstrip('=')}.e30.AAAA",
        "too large": "A" * 9000,
    }  # fmt: skip
    for what, token in bad.items():
        code, message = infer(by_token, bearer(token))
        assert code is UNAUTHENTICATED, what
        assert "Traceback" not in message and "jwks" not in message, what
    assert infer(by_token, bearer(good)) == (OK, ""), "and none of them has hurt a good one"


def test_more_than_one_credential_is_none(by_token: EmbeddedServer, issuer: Issuer) -> None:
    good = issuer.token("a")
    assert infer(by_token, bearer(good))[0] is OK
    assert infer(by_token, (*bearer(good), *bearer(good)))[0] is UNAUTHENTICATED
    assert infer(by_token, (*bearer(good), ("x-api-key", "mw_x")))[0] is UNAUTHENTICATED
    assert infer(by_token, (("authorization", "Basic YTpi"),))[0] is UNAUTHENTICATED
    assert infer(by_token, (("x-api-key", good),))[0] is UNAUTHENTICATED, "a token is no key"


def test_a_token_counts_until_it_expires_also_where_it_is_known(serve: Serve, issuer: Issuer, tmp_path: Path) -> None:
    settings = token_settings(issuer.publish(tmp_path / "jwks.json"), leeway="1ms")
    server = serve({"add": add_one()}, access={"jwt": settings, "rules": [{"identity": "*", "models": "*"}]})
    short = bearer(issuer.token("a", exp=int(time.time()) + 5))
    assert infer(server, short)[0] is OK
    code, message = wait_until(lambda: _unless_ok(infer(server, short)), "the token expires")
    assert code is UNAUTHENTICATED
    assert "expired" in message
    assert checked(server, "known") > 0


def _unless_ok(outcome: tuple[grpc.StatusCode, str]) -> tuple[grpc.StatusCode, str] | None:
    return None if outcome[0] is OK else outcome


def test_keys_rotate_while_it_runs(by_token: EmbeddedServer, issuer: Issuer, tmp_path: Path) -> None:
    old = bearer(issuer.token("a"))
    assert infer(by_token, old)[0] is OK
    issuer.add_key("two", "RS256")
    issuer.publish(tmp_path / "jwks.json")
    new = bearer(issuer.token("a", "two"))
    wait_until(lambda: infer(by_token, new)[0] is OK, "the new key counts")
    assert infer(by_token, old)[0] is OK, "beside the old one"
    del issuer.keys["one"]
    issuer.publish(tmp_path / "jwks.json")
    wait_until(lambda: infer(by_token, old)[0] is UNAUTHENTICATED, "the old key's tokens are forgotten")
    assert infer(by_token, new)[0] is OK
    (tmp_path / "jwks.json").write_text("{}")
    wait_until(lambda: by_token.metric("modelward_access_failed_reloads_total") == 1, "a bad file is noticed")
    assert infer(by_token, new)[0] is OK, "and changes nothing"


def test_bad_tokens_cost_their_peer_and_no_one_else(by_token: EmbeddedServer, issuer: Issuer) -> None:
    good = bearer(issuer.token("a"))
    assert infer(by_token, good)[0] is OK
    stranger = Issuer()
    stranger.add_key("one")
    codes: dict[grpc.StatusCode, int] = {}
    begun = time.monotonic()
    with grpc.insecure_channel(by_token.grpc) as channel:
        call = channel.unary_unary(f"{SERVICE}/ModelInfer")
        message = request("add", {"x": ROW}).SerializeToString()
        head, body, _ = stranger.token("a").split(".")
        for first in range(0, 10_000, 200):
            under_way = [
                call.future(message, timeout=60, metadata=bearer(f"{head}.{body}.{n:086d}"))
                for n in range(first, first + 200)
            ]
            for one in under_way:
                code = one.code() if one.exception() is not None else OK
                codes[code] = codes.get(code, 0) + 1
    failed = checked(by_token, "check_failed")
    # the rest were on a connection that was closed for its floods
    assert set(codes) <= {UNAUTHENTICATED, RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
    assert codes[UNAUTHENTICATED] <= failed
    assert codes[RESOURCE_EXHAUSTED] > 5000
    # a hundred at once and twenty a second
    assert 100 <= failed <= 100 + 20 * (time.monotonic() - begun) + 1
    assert infer(by_token, good)[0] is OK, "a token that is known needs no check"
    fresh = bearer(issuer.token("fresh", jti="x"))
    wait_until(lambda: infer(by_token, fresh)[0] is OK, "the peer to be allowed a check again")


def test_the_same_bad_token_is_checked_once(by_token: EmbeddedServer) -> None:
    for _ in range(20):
        assert infer(by_token, bearer("a.b.c"))[0] is UNAUTHENTICATED
    assert checked(by_token, "check_failed") == 1
    assert checked(by_token, "known_bad") == 19


def test_calls_that_come_together_with_one_new_token_are_one_check(by_token: EmbeddedServer, issuer: Issuer) -> None:
    metadata = bearer(issuer.token("a"))
    with grpc.insecure_channel(by_token.grpc) as channel, futures.ThreadPoolExecutor(32) as pool:
        codes = list(pool.map(lambda _: infer_on(channel, metadata)[0], range(64)))
    assert set(codes) == {OK}
    assert checked(by_token, "checked") <= 2


def test_no_credential_is_ever_logged(
    by_token: EmbeddedServer, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good, expired = issuer.token("a"), issuer.token("a", exp=1)
    key = keys.make("a")[1]
    for metadata in (
        bearer(good),
        bearer(expired),
        bearer(key),
        bearer("not.a.token-but-secret"),
        (("x-api-key", key),),
    ):
        infer(by_token, metadata)
    wait_until(lambda: "is refused" in caplog.text, "the refusals are told")
    for secret in (*good.split("."), *expired.split("."), key, key[16:], "token-but-secret"):
        assert secret not in caplog.text


# ---- API keys --------------------------------------------------------------------------------------------------


def test_an_api_key_counts_until_it_is_revoked(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, text = keys.make("batch-job")
    late, late_text = keys.make("late", expires=int(time.time()) - 1)
    with keys.editing(file) as kept:
        kept |= {key.id: key, late.id: late}
    access = {"keys": str(file), "rules": [{"identity": "batch-*", "models": "*"}, {"identity": "late", "models": "*"}]}
    server = serve({"add": add_one()}, access=access)
    assert infer(server, (("x-api-key", text),))[0] is OK
    assert infer(server, bearer(text))[0] is OK
    assert infer(server, (("x-api-key", late_text),)) == (
        UNAUTHENTICATED,
        "the credential has expired; get a new one",
    )
    assert infer(server, (("x-api-key", text[:-1] + ("A" if text[-1] != "A" else "B")),))[0] is UNAUTHENTICATED
    with keys.editing(file) as kept:
        del kept[key.id]
    wait_until(lambda: infer(server, bearer(text))[0] is UNAUTHENTICATED, "the key is revoked")
