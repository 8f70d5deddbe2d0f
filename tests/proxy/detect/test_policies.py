"""Whose policies a model has, and which records an operator's word is about."""

from __future__ import annotations

import ipaddress
import time

import pytest

from modelward.config.detection import ModelDetection
from modelward.config.schema import Config
from modelward.detect.policies import Patterns, policies
from modelward.detect.restriction import Known, callers_of
from modelward.detect.suspects import gets, suspect

ACCESS = {"keys": "keys.json", "rules": [{"identity": "*", "models": ["*"]}]}


def test_an_identity_has_a_bit_for_each_pattern_that_fits_it_and_its_proof() -> None:
    models = {
        "fraud": {"detection": {"identities": {"team-*": {"mode": "act"}, "team-a": {"mode": "off"}}}},
        "other": {"detection": {"identities": {"team-*": {"mode": "act"}, "*": {"mode": "act", "by": "certificate"}}}},
    }
    patterns = Patterns(Config.model_validate({"access": ACCESS, "models": models}))
    team = 1 << patterns.number("team-*", ("any",))
    own = 1 << patterns.number("team-a", ("any",))
    proved = 1 << patterns.number("*", ("certificate",))
    assert patterns.bits("key", "team-a") == team | own
    assert patterns.bits("certificate", "team-b") == team | proved
    assert patterns.bits("jwt", "somebody") == 0


def test_a_model_has_a_policy_for_all_and_one_for_each_pattern_or_none_where_nobody_is_watched() -> None:
    config = Config.model_validate(
        {"access": ACCESS, "models": {"m": {"detection": {"identities": {"a*": {"mode": "act"}}}}}}
    )
    made = policies(config.models["m"].detection, Patterns(config))
    assert made is not None
    assert made.count == 2
    assert policies(ModelDetection(), Patterns(config)) is None


@pytest.mark.parametrize(
    ("written", "texts"),
    [
        ("team-a", [b"certificate identity team-a", b"jwt identity team-a", b"key identity team-a"]),
        ("10.0.0.7", [bytes([10, 0, 0, 7])]),
        ("::ffff:10.0.0.7", [bytes([10, 0, 0, 7])]),
        ("64:ff9b::a00:7", [bytes([10, 0, 0, 7])]),
        ("2002:a00:7::1", [bytes([10, 0, 0, 7])]),
        ("2001:db8::1:2:3:4", [ipaddress.ip_address("2001:db8::").packed[:8]]),
    ],
)
def test_a_name_is_of_whatever_proves_it_and_an_address_of_its_peer(written: str, texts: list[bytes]) -> None:
    assert [text for _, text in callers_of(written, 64)] == texts


def test_an_address_whose_peer_is_no_whole_number_of_bytes_is_cut_as_the_data_plane_cuts_it() -> None:
    ((kind, text),) = callers_of("2001:db8:0:ffff::1", 60)
    assert (kind, text) == ("address", ipaddress.ip_address("2001:db8:0:fff0::").packed[:8])


def test_evidence_is_taken_up_to_the_strongest_step_where_the_model_acts() -> None:
    settings = ModelDetection.model_validate(
        {
            "mode": "act",
            "strongest": "round",
            "identities": {"partner": {"strongest": "tag"}, "auditor": {"mode": "observe"}},
        }
    )
    assert gets(settings, Known("key", "somebody", "m"), "block") == "round"
    assert gets(settings, Known("key", "partner", "m"), "block") == "tag"
    assert gets(settings, Known("key", "auditor", "m"), "block") == "observe"
    assert gets(settings, Known("address", "10.0.0.1", "m"), "tag") == "tag"


@pytest.mark.parametrize(
    ("rows", "step"),
    [(99.0, "observe"), (100.0, "round"), (150.0, "top_class"), (200.0, "fallback"), (10_000.0, "fallback")],
)
def test_a_spent_budget_is_a_step_until_the_day_ends(rows: float, step: str) -> None:
    settings = ModelDetection.model_validate({"mode": "act", "strongest": "top_class", "budget": 100})
    today = int(time.time()) // 86_400
    record = {
        "pinned": None, "step": "observe", "evidence": {}, "since_ns": 0, "last_ns": 0, "blocked_ns": 0, "strikes": 0,
        "distinct": rows, "spent": rows, "day": today,
    }  # fmt: skip
    known = Known("key", "team-a", "m")
    told = suspect(record, known, settings)
    assert (told.step, told.today) == (step, rows)
    assert told.gets == ("top_class" if step == "fallback" else step)
    assert suspect(record | {"day": today - 1}, known, settings).step == "observe"
