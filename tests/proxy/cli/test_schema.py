"""`modelward schema` describes exactly the keys that the configuration takes."""

import json
import re
from typing import Any

import pytest
import yaml

from modelward.cli.app import main
from modelward.config.units import DURATION_PATTERN
from scripts.docs import configuration
from scripts.docs.configuration_examples import EXAMPLES


@pytest.fixture
def schema(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["schema"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_unknown_keys_are_errors_everywhere_in_the_schema(schema: dict[str, Any]) -> None:
    assert schema["additionalProperties"] is False
    assert all(bare(section)["additionalProperties"] is False for section in schema["$defs"].values())


def bare(section: dict[str, Any]) -> dict[str, Any]:
    """Without what may stand for it."""
    return section["anyOf"][0] if "anyOf" in section else section


def test_every_key_says_what_it_means_or_leads_to_a_section(schema: dict[str, Any]) -> None:
    for name, section in schema["$defs"].items():
        for key, field in bare(section)["properties"].items():
            assert "description" in field or "$ref" in field, f"{name}.{key}"


def test_units_are_text_with_a_pattern_and_defaults_are_in_units(schema: dict[str, Any]) -> None:
    handshake = schema["$defs"]["Timeouts"]["properties"]["handshake"]
    assert (handshake["type"], handshake["pattern"], handshake["default"]) == ("string", DURATION_PATTERN, "5s")
    assert re.match(handshake["pattern"], "1.5s")
    assert schema["properties"]["listen"]["default"] == {
        "grpc": "127.0.0.1:8001",
        "mode": "0600",
        "http": "127.0.0.1:8002",
        "admin": "127.0.0.1:8003",
    }


def test_the_schema_names_its_dialect(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_what_the_server_takes_for_a_list_or_a_section_is_in_the_schema_too(schema: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema)
    shorthands = 0
    for path in EXAMPLES:
        for text in configuration.examples_of(path):
            example = yaml.safe_load(text)
            shorthands += isinstance(example.get("models", {}).get("fraud", {}).get("shadow"), dict)
            assert [each.message for each in validator.iter_errors(example)] == [], text
    assert shorthands
    rule = {"identity": "a", "by": "certificate", "models": "fraud"}
    assert validator.is_valid({"access": {"rules": [rule]}, "limits": {"shared": "redis://a:6379"}})
    assert not validator.is_valid({"access": {"rules": [rule | {"by": "guess"}]}})
    assert not validator.is_valid({"access": {"rules": [rule | {"by": {}}]}})
    assert not validator.is_valid({"access": "keys.json"})
