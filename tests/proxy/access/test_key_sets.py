"""Keys of a token issuer, from its URL."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from modelward.access import key_sets
from modelward.access.key_sets import RemoteKeys, parse
from modelward.access.tokens import KeySet
from modelward.config.access import Jwt
from modelward.operators.issuers import Issuers
from tests.certificates import authority_file
from tests.key_server import KeyServer, key_server
from tests.tokens import AUDIENCE, ISSUER, Issuer


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.add_key("one")
    return issuer


def settings(url: str, **more: Any) -> Jwt:
    return Jwt.model_validate({"issuer": ISSUER, "audience": AUDIENCE, "jwks": url, **more})


def asked(server: KeyServer, **more: Any) -> tuple[RemoteKeys, list[KeySet | None]]:
    """The keys after one question, and each set that there was."""
    seen: list[KeySet | None] = []
    remote = RemoteKeys(settings(server.url, **more), lambda: seen.append(remote.current))
    asyncio.run(remote.ask())
    return remote, seen


def test_keys_are_had_over_https_from_a_server_that_is_trusted(issuer: Issuer, tmp_path: Path) -> None:
    authority = trustme.CA()
    trusted = authority_file(authority, tmp_path / "ca.pem")
    with key_server(issuer.key_set(), authority) as server:
        remote, seen = asked(server, ca=str(trusted))
        assert remote.current is not None and len(remote.current) == 1
        assert seen == [remote.current]
        stranger = authority_file(trustme.CA(), tmp_path / "stranger.pem")
        remote, seen = asked(server, ca=str(stranger))
        assert remote.current is None
        assert (remote.failures, seen) == (1, [])


def test_authorities_that_were_replaced_are_trusted_at_the_next_question(issuer: Issuer, tmp_path: Path) -> None:
    authority = trustme.CA()
    trusted = authority_file(trustme.CA(), tmp_path / "ca.pem")
    with key_server(issuer.key_set(), authority) as server:
        remote, _ = asked(server, ca=str(trusted))
        assert (remote.current, remote.failures) == (None, 1)
        trusted.write_text("no certificate")
        asyncio.run(remote.ask())
        assert (remote.current, remote.failures) == (None, 2)
        authority_file(authority, trusted)
        asyncio.run(remote.ask())
        assert remote.current is not None and remote.failures == 2


def test_other_keys_than_before_are_counted(issuer: Issuer) -> None:
    with key_server(issuer.key_set()) as server:
        remote, seen = asked(server)
        asyncio.run(remote.ask())
        remote.current = None  # too old
        asyncio.run(remote.ask())
        assert (remote.changes, len(seen)) == (0, 2), "the same again"
        issuer.add_key("two")
        server.document = issuer.key_set()
        asyncio.run(remote.ask())
        assert (remote.changes, remote.stats().changes, len(seen)) == (1, 1, 3)


def test_other_keys_of_operators_are_told(issuer: Issuer) -> None:
    told: list[str] = []
    with key_server(issuer.key_set()) as server:
        issuers = Issuers([settings(server.url)], told.append)

        async def ask(key: str) -> None:
            assert (await issuers.verify(issuer.token("ci", kid=key)))[0] == "ci"

        asyncio.run(ask("one"))
        assert told == [], "the first are no change"
        issuer.add_key("two")
        server.document = issuer.key_set()
        key_sets.LEAST_SECONDS, least = 0.0, key_sets.LEAST_SECONDS
        try:
            asyncio.run(ask("two"))
        finally:
            key_sets.LEAST_SECONDS = least
    assert told == [ISSUER]


@pytest.mark.parametrize(
    "change",
    [
        {"status": 500},
        {"status": 302, "headers": {"location": "/elsewhere"}},
        {"document": b"not json"},
        {"document": b"[" * 100_000},
        {"document": {"keys": []}},
        {"document": {"keys": [{"kty": "oct", "k": "AAAA", "kid": "one", "alg": "HS256"}]}},
        {"document": b" " * (key_sets.LARGEST + 1)},
    ],
)
def test_an_answer_that_is_no_key_set_leaves_the_old_keys(issuer: Issuer, change: dict[str, Any]) -> None:
    with key_server(issuer.key_set()) as server:
        remote = RemoteKeys(settings(server.url), lambda: None)
        asyncio.run(remote.ask())
        before = remote.current
        for name, value in change.items():
            setattr(server, name, value)
        asyncio.run(remote.ask())
        assert remote.failures == 1
        assert remote.current is before is not None
        assert server.asked == 2, "a redirect is not followed"


def test_a_server_that_does_not_answer_is_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sets, "FETCH_SECONDS", 0.2)
    with key_server(issuer.key_set()) as server:
        server.delay = threading.Event()
        remote, _ = asked(server)
        assert (remote.current, remote.failures) == (None, 1)


def test_many_who_ask_at_once_are_one_question_and_the_next_one_must_wait(issuer: Issuer) -> None:
    with key_server(issuer.key_set()) as server:
        remote = RemoteKeys(settings(server.url), lambda: None)

        async def many() -> None:
            await asyncio.gather(*(remote.ask_again() for _ in range(50)))
            await asyncio.gather(*(remote.ask_again() for _ in range(50)))

        asyncio.run(many())
        assert server.asked == 1


def test_keys_that_are_too_old_count_no_more(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[KeySet | None] = []
    with key_server(issuer.key_set()) as server:
        remote = RemoteKeys(settings(server.url, max_stale="1h"), lambda: changes.append(remote.current))
        asyncio.run(remote.ask())
    asyncio.run(remote.ask())
    remote.drop_stale()
    assert remote.current is not None, "the server is down, and the keys are young"
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + 3601)
    remote.drop_stale()
    assert remote.current is None
    assert len(changes) == 2


def test_only_public_keys_that_may_verify_are_taken(issuer: Issuer) -> None:
    issuer.add_key("two", "RS256")
    wanted = settings("keys.json")
    ec, rsa = issuer.key_set()["keys"]
    left_out = [
        {**ec, "use": "enc"},
        {**ec, "key_ops": ["sign"]},
        {**ec, "alg": "RS256"},
        {**ec, "d": "AAAA"},
        {**ec, "crv": "P-384"},
        {**ec, "x": "AAAA"},
        {**rsa, "n": "AQAB"},
        {**rsa, "alg": "RS512"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": ["EC"]},
        "text",
        None,
    ]
    assert len(KeySet({"keys": [*left_out, ec, rsa]}, wanted.algorithms)) == 2
    with pytest.raises(ValueError, match="no public key"):
        KeySet({"keys": left_out}, wanted.algorithms)
    with pytest.raises(ValueError, match="no JSON object"):
        parse(b"[]", wanted)
