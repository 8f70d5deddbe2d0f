"""What `check` and serve's log say of the section `operators`."""

from pathlib import Path

import pytest

from modelward.config.schema import Config
from modelward.operators import examine
from tests.tokens import AUDIENCE, ISSUER, Issuer

UNIX = {"admin": "unix:/run/admin.sock"}
ADMINISTRATOR = {"user": 0, "roles": ["administrator"]}


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    issuer = Issuer()
    issuer.add_key("one")
    return issuer.publish(tmp_path / "keys.json")


def noted(**config: object) -> list[str]:
    return [note.what for note in examine.notes(Config.model_validate(config))]


def test_nothing_is_said_without_operators_or_where_all_is_well() -> None:
    assert noted() == []
    assert noted(listen=UNIX, operators={"bindings": [ADMINISTRATOR]}) == []


def test_operators_without_bindings_or_without_an_administrator_are_told() -> None:
    assert noted(operators={}) == ["no binding: no operator may do anything"]
    viewer = {"user": 0, "roles": ["viewer"]}
    assert noted(listen=UNIX, operators={"bindings": [viewer]}) == ["no binding has the verb bindings"]
    own = {"bindings": [{"user": 0, "roles": ["root"]}], "roles": {"root": ["bindings"]}}
    assert noted(listen=UNIX, operators=own) == []


def test_users_that_this_machine_does_not_have_are_told() -> None:
    bindings = [ADMINISTRATOR, {"user": "no-such-user", "roles": ["viewer"]}]
    assert noted(listen=UNIX, operators={"bindings": bindings}) == ["this machine has no user no-such-user"]


def test_tokens_that_can_be_overheard_or_are_those_of_clients_are_told(jwks: Path) -> None:
    ours = {"issuer": ISSUER, "audience": ["admin", AUDIENCE], "jwks": str(jwks)}
    operators = {"tokens": [ours], "bindings": [{"token": "a", "roles": ["administrator"]}]}
    assert noted(operators=operators) == ["tokens come to 127.0.0.1:8003 in plain text"]
    clients = {"jwt": {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(jwks)}}
    assert noted(listen=UNIX, operators=operators, access=clients) == ["access.jwt accepts the same tokens"]
    assert noted(listen=UNIX, operators=operators, access={"jwt": {**clients["jwt"], "audience": "models2"}}) == []


def test_files_of_keys_that_cannot_be_used_are_problems(jwks: Path) -> None:
    tokens = {"issuer": ISSUER, "audience": "admin", "jwks": str(jwks)}
    config = Config.model_validate({"operators": {"tokens": [tokens]}})
    assert examine.problems(config) == []
    jwks.write_text("{}")
    (problem,) = examine.problems(config)
    assert (problem.what, problem.where) == ("operators.tokens[0].jwks holds no key set", str(jwks))
