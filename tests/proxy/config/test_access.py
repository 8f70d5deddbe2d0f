"""The sections `access` and `trusted_proxies`."""

import pytest
from pydantic import ValidationError

from modelward.config.access import Access, Jwt, Rule
from modelward.config.schema import Config

JWT = {"issuer": "i", "audience": "a", "jwks": "keys.json"}


def test_one_item_stands_for_a_list() -> None:
    rule = Rule.model_validate({"identity": "a", "models": "m", "methods": "infer", "by": "jwt"})
    assert (rule.models, rule.methods, rule.by) == (("m",), ("infer",), ("jwt",))


@pytest.mark.parametrize(
    ("section", "value", "told"),
    [
        (Access, {}, "no caller can have an identity"),
        (Access, {"rules": [{"identity": "a", "models": ["*"]}]}, "no caller can have an identity"),
        (Jwt, {**JWT, "algorithms": ["none"]}, "Input should be"),
        (Jwt, {**JWT, "algorithms": ["HS256"]}, "Input should be"),
        (Jwt, {**JWT, "algorithms": []}, "at least 1"),
        (Jwt, {**JWT, "audience": []}, "at least 1"),
        (Jwt, {**JWT, "jwks": "http://issuer.example/keys"}, "is no https URL"),
        (Jwt, {**JWT, "jwks": "file:///etc/passwd"}, "is no https URL"),
        (Jwt, {**JWT, "jwks": "http://localhost.evil.example/keys"}, "is no https URL"),
        (Jwt, {**JWT, "jwks": "https://a:b@issuer.example/keys"}, "holds a password"),
        (Jwt, {**JWT, "ca": "ca.pem"}, "jwks is no https URL"),
        (Jwt, {"issuer": "i", "jwks": "keys.json"}, "Field required"),
        (Rule, {"models": ["*"]}, "for an identity or for anonymous callers"),
        (Rule, {"identity": "a", "anonymous": True, "models": ["*"]}, "for an identity or for anonymous callers"),
        (Rule, {"identity": "a"}, "Field required"),
        (Rule, {"identity": "a", "models": ["m"], "methods": ["passthrough"]}, "cannot be for some models"),
        (Rule, {"identity": "a", "models": ["m"], "methods": ["everything"]}, "Input should be"),
        (Config, {"trusted_proxies": ["10.0.0.1/8"]}, "is no network"),
        (Config, {"trusted_proxies": ["proxy.example"]}, "is no network"),
        (Config, {"access": {"certificates": True}}, "no client certificate is ever asked for"),
    ],
)
def test_what_makes_no_sense_is_refused(section: type[Access], value: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        section.model_validate(value)


def test_what_makes_sense_is_taken() -> None:
    for url in ("https://issuer.example/keys", "http://127.0.0.1:8080/keys", "http://[::1]/keys"):
        assert Jwt.model_validate({**JWT, "jwks": url}).is_url
    assert not Jwt.model_validate(JWT).is_url
    assert Access.model_validate({"rules": [{"anonymous": True, "models": ["*"]}]}).rules
    assert Config.model_validate({"trusted_proxies": ["10.0.0.0/8", "192.168.0.1", "fd00::/8", "unix:"]})
