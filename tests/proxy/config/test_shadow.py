"""The section `shadow` of a model."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from modelward.config.shadow import Bounds, Only, Shadow, Shadows

SHADOWS: TypeAdapter[tuple[Shadow, ...]] = TypeAdapter(Shadows)


def test_one_mapping_stands_for_a_list_and_nothing_for_none() -> None:
    (shadow,) = SHADOWS.validate_python({"version": 2, "fraction": 0.25})
    assert (shadow.version, shadow.name, shadow.fraction) == ("2", "2", 0.25)
    both = SHADOWS.validate_python([{"version": "2"}, {"upstreams": ["127.0.0.1:9001"]}])
    assert [shadow.name for shadow in both] == ["2", "127.0.0.1:9001"]
    assert SHADOWS.validate_python(None) == ()


def test_everything_it_takes_is_taken_as_people_write_it() -> None:
    shadow = Shadow.model_validate({
        "version": "3", "fraction": 1, "only": {"identity": "team-*", "anomalous": False}, "warmup": 0,
        "deadline": "50ms", "concurrency": 4, "inflight_bytes": "1MiB", "tolerance": 0.01,
        "bounds": {"disagreement": 0.005, "errors": "off", "latency": 1.5}, "samples": False,
    })  # fmt: skip
    assert shadow.only == Only(identity=("team-*",), anomalous=False)
    assert shadow.only.kinds == ("certificate", "token", "key")
    assert Only.model_validate({"identity": "a", "by": "token"}).kinds == ("token",)
    assert shadow.bounds == Bounds(disagreement=0.005, errors=None, latency=1.5)
    assert (shadow.deadline, shadow.inflight_bytes, shadow.samples) == (50_000_000, 2**20, False)


def test_what_it_writes_it_reads() -> None:
    shadow = Shadow(version="2", bounds=Bounds(errors=None))
    assert Shadow.model_validate(shadow.model_dump(mode="json", exclude={"upstream_tls", "only"})) == shadow
    assert "off" in str(SHADOWS.json_schema())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "exactly one of version and upstreams"),
        ({"version": "2", "upstreams": ["127.0.0.1:1"]}, "exactly one of version and upstreams"),
        ({"version": "2", "upstream_tls": {"ca": "ca.pem"}}, "no upstreams beside it"),
        ({"upstreams": ["nowhere"]}, "is not an upstream address"),
        ({"version": True}, "valid string"),
        ({"version": "x" * 65}, "should match pattern"),
        ({"version": "é"}, "should match pattern"),
        ({"version": "2", "fraction": 0}, "greater than 0"),
        ({"version": "2", "fraction": 1.5}, "less than or equal to 1"),
        ({"version": "2", "only": {}}, "only says nothing"),
        ({"version": "2", "only": {"identity": ["a", ""]}}, "an identity is empty"),
        ({"version": "2", "only": {"identity": "a", "by": "badge"}}, "'certificate', 'token'"),
        ({"version": "2", "only": {"anomalous": True, "by": "key"}}, "by is set and there is no identity"),
        ({"version": "2", "deadline": 5}, "is not a duration"),
        ({"version": "2", "concurrency": 0}, "greater than or equal to 1"),
        ({"version": "2", "warmup": -1}, "greater than or equal to 0"),
        ({"version": "2", "tolerance": 1}, "less than 1"),
        ({"version": "2", "bounds": {"latency": 0.5}}, "greater than or equal to 1"),
        ({"version": "2", "bounds": {"disagreement": 2}}, "less than or equal to 1"),
        ({"version": "2", "bounds": {"disagreement": "off", "errors": "off"}}, "every bound is off"),
        ({"version": "2", "fractoin": 0.5}, "Extra inputs"),
        ([{"version": "2"}, {"version": 2}], "two shadows are '2'"),
        ([{"version": str(i)} for i in range(9)], "at most 8"),
        ("2", "valid tuple"),
    ],
)
def test_what_makes_no_sense_is_refused(value: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SHADOWS.validate_python(value)
