"""What `check` and serve say of rules that work and may not be meant."""

from typing import Any

import pytest

from modelward.access.examine import notes
from modelward.config.access import Rule
from modelward.config.schema import Config

JWT = {"issuer": "i", "audience": "a", "jwks": "keys.json"}
UNSAID = "how the identity must be proved is not said"


def unsaid(rules: list[dict[str, Any]], limits: dict[str, Any] | None = None, **access: Any) -> list[str]:
    """Where it is, and why it matters."""
    listed = [{"models": ["m"], **rule} for rule in rules]
    config = Config.model_validate({"access": {"rules": listed, **access}, "limits": limits or {}})
    return [f"{note.where}: {note.why}" for note in notes(config, ["m"]) if note.what == UNSAID]


def test_where_several_credentials_prove_a_name_a_rule_must_say_which_is_meant() -> None:
    rules = [
        {"identity": "ops"},
        {"identity": "team", "by": "key"},
        {"identity": "x", "by": "any"},
        {"anonymous": True},
    ]
    (told,) = unsaid(rules, jwt=JWT, keys="keys.json")
    assert told == "access.rules[0]: a token and a key named 'ops' are both taken for it"


def test_overrides_of_limits_must_say_it_too() -> None:
    limits = {"identity": {"overrides": {"ops": {"weight": 2}, "team": {"weight": 2, "by": "key"}}}}
    (told,) = unsaid([], limits, jwt=JWT, keys="keys.json")
    assert told.startswith("limits.identity.overrides['ops']: ")


@pytest.mark.parametrize("access", [{"jwt": JWT}, {"keys": "keys.json"}], ids=["tokens", "keys"])
def test_one_kind_of_credential_is_meant_without_saying(access: dict[str, Any]) -> None:
    assert unsaid([{"identity": "ops"}], **access) == []


@pytest.mark.parametrize(
    ("by", "proofs"),
    [
        ("token", ("jwt",)),
        ("jwt", ("jwt",)),
        (["certificate", "key"], ("certificate", "key")),
        ("any", ("certificate", "jwt", "key")),
        (None, ("certificate", "jwt", "key")),
    ],
)
def test_a_rule_says_what_proves_its_identity(by: Any, proofs: tuple[str, ...]) -> None:
    said = {} if by is None else {"by": by}
    assert Rule.model_validate({"identity": "a", "models": ["m"], **said}).sources == proofs
