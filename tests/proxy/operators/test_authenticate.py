"""Who calls, by what a call shows: one credential counts, and one that is not valid is never passed over."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from modelward.config.operators import UNMAPPED, Operators
from modelward.operators.authenticate import Authenticator, Shown, unproved
from modelward.operators.identity import Operator, Unauthenticated
from modelward.problem import ProblemsFound
from tests.key_server import key_server
from tests.tokens import ISSUER, Issuer

OTHER = "https://other.example"
ORIGIN = "10.0.0.1:5"


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.add_key("one")
    return issuer


def authenticator(*tokens: dict[str, Any]) -> Authenticator:
    return Authenticator(Operators.model_validate({"tokens": tokens}))


def source(jwks: object, **more: Any) -> dict[str, Any]:
    return {"issuer": ISSUER, "audience": "admin", "jwks": str(jwks), **more}


def identify(of: Authenticator, **shown: Any) -> Operator:
    return asyncio.run(of.identify(Shown(ORIGIN, **shown)))


def shows(*names: tuple[str, Any], common: str = "root") -> dict[str, Any]:
    """A certificate."""
    return {"subject": ((("commonName", common),),), "subjectAltName": names}


def refused(of: Authenticator, **shown: Any) -> str:
    with pytest.raises(Unauthenticated) as told:
        identify(of, **shown)
    return str(told.value)


def test_a_certificate_or_the_user_of_a_socket_names_the_operator() -> None:
    of = authenticator()
    assert identify(of, certificate=shows(("URI", "spiffe://a/b")), issuer="commonName=CA") == Operator(
        "spiffe://a/b", "certificate", "commonName=CA", ORIGIN
    )
    known = identify(of, uid=7, user="alice", gids=(7, 20, UNMAPPED))
    assert known == Operator("alice", "socket", "", ORIGIN, 7, (7, 20))
    assert identify(of, uid=7).name == "uid 7"


def test_without_a_credential_nobody_is_let_in(issuer: Issuer, tmp_path: Path) -> None:
    assert refused(authenticator()) == "no credential: this address accepts none"
    with_tokens = authenticator(source(issuer.publish(tmp_path / "keys.json")))
    assert refused(with_tokens) == "no credential: send a token (--token FILE)"
    assert "of another user namespace" in refused(authenticator(), uid=UNMAPPED)


@pytest.mark.parametrize(
    "names",
    [
        [("DNS", "a" * 600)],
        [("URI", "spiffe://A b")],
        [("DNS", "spiffe://prod/oncall/x")],
        [("URI", "spiffe://prod/oncall/x"), ("URI", "spiffe://dev/y")],
        [("DirName", ((("commonName", "ada"),),))],
        [("othername", "<unsupported>")],
    ],
)
@pytest.mark.parametrize("common_name", [True, False])
def test_a_certificate_whose_other_names_are_not_clear_names_nobody(names: list[Any], common_name: bool) -> None:
    of = Authenticator(Operators(common_name=common_name))
    assert "has no name that counts" in refused(of, certificate=shows(*names), uid=0, user="root")


def test_a_common_name_counts_alone_and_where_the_configuration_says_so() -> None:
    assert "only a common name" in refused(authenticator(), certificate=shows(common="ada"), uid=0)
    of = Authenticator(Operators(common_name=True))
    assert identify(of, certificate=shows(common="ada")).name == "ada"
    assert identify(of, certificate=shows(("DNS", "bob"), common="ada")).name == "bob"
    for common in ("spiffe://prod/oncall/x", "ada@example.com", "ad\u202ea", "a" * 600, ""):
        assert "common name cannot be used" in refused(of, certificate=shows(common=common))


def test_a_certificate_that_ends_while_its_connection_lasts_proves_nothing_any_more() -> None:
    now = time.time()
    assert identify(authenticator(), certificate=shows(("DNS", "a")), not_after=now + 60).name == "a"
    assert refused(authenticator(), certificate=shows(("DNS", "a")), not_after=now - 1) == "the certificate has expired"


def test_a_token_that_is_sent_counts_before_what_the_connection_proves(tmp_path: Path, issuer: Issuer) -> None:
    of = authenticator(source(issuer.publish(tmp_path / "keys.json")))
    good = f"Bearer {issuer.token('alice', aud='admin')}"
    for connection in ({}, {"certificate": shows(("DNS", "gateway"))}, {"uid": 0, "user": "root"}):
        assert identify(of, authorization=good, **connection) == Operator("alice", "token", ISSUER, ORIGIN)
    assert identify(of, authorization=good.replace("Bearer", "bEARER ")).name == "alice"


def test_a_token_that_is_not_valid_never_falls_back_to_what_the_connection_proves(
    tmp_path: Path, issuer: Issuer
) -> None:
    of = authenticator(source(issuer.publish(tmp_path / "keys.json")))
    forger = Issuer()
    forger.add_key("one")
    bad = {
        issuer.token("alice"): "its audience is another: admin is expected",
        issuer.token("alice", aud="admin", exp=1): "it has expired",
        issuer.token("alice", aud="admin", iss=OTHER): "its issuer is none of operators.tokens",
        issuer.token("alice", aud="admin", iss=None): "its issuer is none of operators.tokens",
        issuer.token("alice", aud="admin", exp=None): "the claim exp is missing",
        issuer.token("al\nice", aud="admin"): "its identity claim is missing or no name",
        issuer.token("alice", aud="admin", headers={"kid": "two"}): "no key of the set is the token's",
        forger.token("alice", aud="admin"): "its signature does not match",
        issuer.token("alice", aud="admin")[:-1]: "it is malformed",  # of no length that base64 has
        "no.token": "it is malformed",
        "é": "it is malformed",
        "a" * 20_000: "it has more than 16384 bytes",
    }
    for connection in ({}, {"certificate": shows(("DNS", "root.example"))}, {"uid": 0, "user": "root"}):
        for token, why in bad.items():
            assert refused(of, authorization=f"Bearer {token}", **connection) == f"the token is refused: {why}"
        for header in ("", "Bearer", "Bearer ", "Basic YTpi", "alice"):
            assert "is not Bearer TOKEN" in refused(of, authorization=header, **connection)
    assert "tokens are not accepted here" in refused(authenticator(), authorization="Bearer a.b.c", uid=0)


def test_the_refusal_shows_nothing_of_the_token(tmp_path: Path, issuer: Issuer) -> None:
    of = authenticator(source(issuer.publish(tmp_path / "keys.json")))
    token = issuer.token("mallory", iss="https://secret.example")
    told = refused(of, authorization=f"Bearer {token}")
    assert not any(part in told for part in (*token.split("."), "mallory", "secret"))


def test_each_issuer_is_asked_for_its_own_names(tmp_path: Path, issuer: Issuer) -> None:
    other = Issuer()
    other.add_key("two")
    of = authenticator(
        source(issuer.publish(tmp_path / "one.json")),
        source(other.publish(tmp_path / "two.json"), issuer=OTHER, identity="email"),
    )
    assert identify(of, authorization=f"Bearer {issuer.token('a', aud='admin')}").issuer == ISSUER
    second = other.token("x", aud="admin", iss=OTHER, email="b@example.com")
    assert identify(of, authorization=f"Bearer {second}") == Operator("b@example.com", "token", OTHER, ORIGIN)
    assert "its signature" in refused(
        of, authorization=f"Bearer {other.token('a', 'two', {'kid': 'one'}, aud='admin')}"
    )


def test_a_file_of_keys_is_followed_and_one_that_breaks_leaves_the_old_keys(tmp_path: Path, issuer: Issuer) -> None:
    jwks = issuer.publish(tmp_path / "keys.json")
    of = authenticator(source(jwks))
    old = f"Bearer {issuer.token('alice', aud='admin')}"
    assert identify(of, authorization=old).name == "alice"
    jwks.write_text("{")
    assert identify(of, authorization=old).name == "alice"
    assert of.key_set_failures == 1
    issuer.keys.clear()
    issuer.add_key("new")
    issuer.publish(jwks)
    assert identify(of, authorization=f"Bearer {issuer.token('bob', aud='admin')}").name == "bob"
    assert "no key of the set" in refused(of, authorization=old)


def test_files_without_keys_are_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound, match=r"operators\.tokens\.jwks"):
        authenticator(source(tmp_path / "none.json"))


def test_keys_of_a_url_are_had_when_a_token_comes(issuer: Issuer) -> None:
    with key_server(issuer.key_set()) as server:
        of = authenticator(source(server.url))
        assert server.asked == 0

        async def twice() -> list[str]:
            token = f"Bearer {issuer.token('alice', aud='admin')}"
            shown = Shown(ORIGIN, authorization=token)
            return [each.name for each in await asyncio.gather(of.identify(shown), of.identify(shown))]

        assert asyncio.run(twice()) == ["alice", "alice"]
        assert server.asked == 1


def test_while_the_keys_cannot_be_had_no_token_is_taken(issuer: Issuer) -> None:
    with key_server(issuer.key_set()) as server:
        server.status = 500
        of = authenticator(source(server.url))
        told = refused(of, authorization=f"Bearer {issuer.token('alice', aud='admin')}", uid=0)
        assert "the issuer's keys cannot be had now" in told
        assert of.key_set_failures == 1


def test_where_nothing_is_configured_who_calls_is_told_as_far_as_it_is_known() -> None:
    assert unproved(Shown(ORIGIN), "a" * 600, "w").name == "a" * 512
    assert unproved(Shown(ORIGIN, uid=7), "", "w") == Operator("uid 7", "socket", "", ORIGIN, 7)
    assert unproved(Shown(ORIGIN, authorization="Bearer x"), "", "alice, local") == Operator(
        "alice, local", "address", "", ORIGIN
    )
