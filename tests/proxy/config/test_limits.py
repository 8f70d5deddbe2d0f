import pytest

from modelward.config.limits import Limits
from modelward.config.rate_limit import Limit, Share, parse_priority
from modelward.config.schema import Config
from modelward.config.units import UnitError
from modelward.limits.overrides import Overrides


def refused(section: type[Limit] | type[Limits] | type[Config], **values: object) -> str:
    with pytest.raises(ValueError) as raised:
        section.model_validate(values)
    return str(raised.value)


@pytest.mark.parametrize(
    ("written", "native"),
    [
        ({"rate": "1000/s", "burst": 200}, (1000.0, 200, False)),
        ({"time": "500ms/s", "burst": "50ms"}, (0.5, 50_000_000, True)),
        ({"time": "2s/s"}, (2.0, 200_000_000, True)),
        ({"time": "36s/h"}, (0.01, 1_000_000, True)),
        ({"time": "100us/s"}, (1e-4, 10_000, True)),
    ],
)
def test_a_limit_is_of_requests_or_of_backend_time(written: dict[str, object], native: tuple[object, ...]) -> None:
    limit = Limit.model_validate(written)
    assert limit.native == pytest.approx(native)
    assert Limit.model_validate_json(limit.model_dump_json(exclude_none=True)) == limit


@pytest.mark.parametrize(
    ("written", "finding"),
    [
        ({}, "neither rate nor time"),
        ({"burst": 3}, "burst without rate or time"),
        ({"rate": "1/s", "time": "1ms/s"}, "rate and time are both set"),
        ({"time": "1ms"}, "is not a backend time"),
        ({"time": "1ms/s", "burst": 5}, "is not a duration"),
        ({"rate": "1/s", "burst": "5ms"}, "is no number of requests"),
        ({"time": "2000000s/s"}, "out of range"),
    ],
)
def test_what_is_no_limit_is_refused(written: dict[str, object], finding: str) -> None:
    assert finding in refused(Limit, **written)


def test_overrides_of_no_network_or_of_identities_that_cannot_be_proved_are_refused() -> None:
    peer = {"overrides": {"10.0.0.1/8": {"rate": "1/s"}}}
    assert "'10.0.0.1/8' is no network" in refused(Limits, peer=peer)
    identity = {"overrides": {"a": {"weight": 2}}}
    assert "no caller has an identity" in refused(Config, limits={"identity": identity})


def test_the_longest_prefix_and_the_most_literal_name_come_first() -> None:
    rate = {"rate": "1/s"}
    limits = Limits.model_validate(
        {
            "peer": {"overrides": {"::/0": rate, "10.0.0.0/8": rate, "10.1.0.0/16": rate}},
            "identity": {
                "overrides": {
                    "*": {"weight": 2},
                    "spiffe://prod/*": {"rate": "2/s", "priority": 3},
                    "spiffe://prod/batch": {"time": "1ms/s"},
                }
            },
        }
    )
    overrides = Overrides(limits)
    assert [bits for _, bits in overrides.networks] == [112, 104, 0]
    assert [limit[0] for limit in overrides.native] == [1.0, 1.0, 1.0, 0.001, 2.0]
    assert overrides.share("jwt", "spiffe://prod/batch") == (4, 1, 0, 0)
    assert overrides.share("jwt", "spiffe://prod/web") == (5, 1, 3, 3)
    assert overrides.share("key", "team") == (0, 2, 0, 0)
    assert Overrides(Limits()).share("key", "team") == (0, Share().weight, 0, 0)


def test_a_priority_is_a_number_or_a_range() -> None:
    share = Share.model_validate({"priority": "2-7"})
    assert share.priority == (2, 7)
    assert share.model_dump(mode="json")["priority"] == "2-7"
    assert Share.model_validate({"priority": 3}).model_dump(mode="json")["priority"] == 3
    assert Overrides(Limits()).priority == (5, 9)
    assert Overrides(Limits.model_validate({"identity": {"priority": "1-9"}})).priority == (1, 9)


@pytest.mark.parametrize("written", [0, 101, "7-2", "0-5", "high", True, "1-", 2.5])
def test_what_is_no_priority_is_refused(written: object) -> None:
    assert "priority" in refused(Share, priority=written)


def test_a_priority_range_that_is_reversed_is_told_as_that() -> None:
    with pytest.raises(UnitError, match="'9-2' is reversed") as told:
        parse_priority("9-2")
    assert told.value.how == "Write 2-9"
