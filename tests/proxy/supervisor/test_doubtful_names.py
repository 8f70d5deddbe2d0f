"""What operators are told of a name that they restrict and that nothing was seen of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelward.config.schema import Config
from modelward.supervisor.doubtful_names import doubt
from tests.commands import modelward


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    assert modelward("token", "add", "bank-a", "--file", keys).returncode == 0
    return keys


@pytest.mark.parametrize(
    ("name", "rules", "what", "how"),
    [
        ("bankk-a", [{"identity": "*", "models": ["*"]}], "no key has this name", "Did you mean bank-a?"),
        ("shop-a", [{"identity": "bank-*", "models": ["*"]}], "no rule of access is for this identity", "modelward"),
        (
            "bank-a",
            [{"identity": "*", "models": ["*"]}],
            "no row of it was seen",
            "The name is one of those that are known",
        ),
        ("10.0.0.1", [{"identity": "*", "models": ["*"]}], "no row of it was seen", "modelward identities"),
    ],
)
def test_a_name_that_no_credential_can_have_is_told_with_the_one_that_was_meant(
    keys: Path, name: str, rules: list[dict[str, Any]], what: str, how: str
) -> None:
    told = doubt(name, "fraud", Config.model_validate({"access": {"keys": str(keys), "rules": rules}}), ())
    assert what in told.what
    assert how in told.how
    assert told.where == f"identity {name}, model fraud"


def test_without_credentials_a_name_is_of_no_caller_and_an_address_may_be_seen_later() -> None:
    assert "credentials are not configured" in doubt("bank-a", "", Config(), ()).what
    assert "no row of it was seen" in doubt("2001:db8::1", "", Config(), ()).what
    assert doubt("tema-a", "", Config(), ["team-a"]).how == "Did you mean team-a?"


def test_a_model_without_a_profile_says_nothing_of_who_has_asked(keys: Path) -> None:
    config = Config.model_validate({"access": {"keys": str(keys), "rules": [{"identity": "*", "models": ["*"]}]}})
    told = doubt("bank-a", "fraud", config, (), counted=False)
    assert "no version with a profile" in told.what
    assert "no row" not in told.what
    assert "Did you mean" not in told.how
