"""`modelward schema` describes exactly the keys that the configuration takes."""

import json
import re
from typing import Any

import pytest

from modelward.cli.app import main
from modelward.config.units import DURATION_PATTERN


@pytest.fixture
def schema(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["schema"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_unknown_keys_are_errors_everywhere_in_the_schema(schema: dict[str, Any]) -> None:
    assert schema["additionalProperties"] is False
    assert all(section["additionalProperties"] is False for section in schema["$defs"].values())


def test_every_key_says_what_it_means_or_leads_to_a_section(schema: dict[str, Any]) -> None:
    for name, section in schema["$defs"].items():
        for key, field in section["properties"].items():
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
