"""What logs, reports and metrics show of URLs that may hold a secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from modelward.config.access import Jwt
from modelward.config.access_log import AccessLogSettings
from modelward.config.postgres import Postgres
from modelward.config.rate_limit import Shared
from modelward.config.upstream import parse_upstream
from modelward.config.witness import Witness, names

JWT = {"issuer": "i", "audience": "a"}


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        (Witness(webhook="https://hooks.example/services/SECRET?k=SECRET"), "https://hooks.example"),
        (Witness(url="https://SECRET@witness.example:8443/SECRET", key="k"), "https://witness.example:8443"),
        (AccessLogSettings(otlp="https://collector.example/v1/SECRET?k=SECRET"), "https://collector.example"),
        (Postgres(url="postgresql://SECRET@db.example/audit?options=SECRET"), "postgresql://db.example/audit"),
        (Shared(url="redis://u:SECRET@store.example/0?k=SECRET"), "redis://store.example/0"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(settings: Any, where: str) -> None:
    shown = settings.name if isinstance(settings, Witness) else settings.where
    assert shown == where
    assert "SECRET" not in settings.model_dump_json()
    assert where in settings.model_dump_json()


def test_the_address_of_a_key_set_is_known_to_the_public_but_for_its_query() -> None:
    url = "https://issuer.example/keys"
    assert Jwt.model_validate({**JWT, "jwks": f"{url}?k=SECRET"}).where == url
    assert Jwt.model_validate({**JWT, "jwks": "keys?.json"}).where == "keys?.json"


def test_two_configurations_with_another_secret_are_told_apart() -> None:
    one, other = (Witness(webhook=f"https://hooks.example/{each}").model_dump_json() for each in "ab")
    assert one != other


def test_two_witnesses_of_one_server_have_two_names() -> None:
    hooks = [Witness(webhook=f"https://{host}/{path}") for host, path in (("a", "1"), ("b", "1"), ("a", "2"))]
    assert names(hooks) == ["https://a (1)", "https://b", "https://a (3)"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Witness(webhook="http://elsewhere.example/SECRET"),
        lambda: AccessLogSettings(otlp="http://elsewhere.example/v1?k=SECRET"),
        lambda: Jwt.model_validate({**JWT, "jwks": "http://elsewhere.example/keys?k=SECRET"}),
        lambda: parse_upstream("user:SECRET@triton:8001"),
        lambda: parse_upstream("https://user:SECRET@triton:8001"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_secret(wrong: Callable[[], object]) -> None:
    with pytest.raises((ValidationError, ValueError)) as found:
        wrong()
    text = str(found.value)
    told = [each["msg"] for each in found.value.errors()] if isinstance(found.value, ValidationError) else [text]
    assert told
    assert not any("SECRET" in each for each in told)
