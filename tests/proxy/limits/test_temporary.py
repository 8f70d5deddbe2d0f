"""Limits for a time, laid over those of the configuration."""

from modelward.config.limits import Limits
from modelward.config.rate_limit import Limit
from modelward.limits.overrides import Overrides
from modelward.limits.temporary import Kind, TemporaryLimit, with_temporary


def temporary(name: str, rate: str, kind: Kind = "identity") -> TemporaryLimit:
    return TemporaryLimit(kind, name, Limit.model_validate({"rate": rate, "burst": 3}), 0.0)


def limit_of(limits: Limits, name: str) -> tuple[float, int, bool] | None:
    """Of an identity, as the data plane takes it; None where it has that of all."""
    overrides = Overrides(limits)
    number, *_ = overrides.share("jwt", name)
    return overrides.native[number - 1] if number else None


def test_without_limits_of_identities_only_the_named_one_has_one() -> None:
    after = with_temporary(Limits(), [temporary("a", "5/s"), temporary("m", "7/s", "model")])
    assert limit_of(after, "a") == (5.0, 3, False)
    assert (limit_of(after, "b"), limit_of(after, "m")) == (None, None)
    assert after.identity is not None and not after.identity.limits
    assert with_temporary(Limits(), [temporary("m", "7/s", "model")]) == Limits()


def test_a_name_counts_before_patterns_and_keeps_its_weight_and_priority() -> None:
    written = {"rate": "9/s", "overrides": {"team-*": {"rate": "8/s", "weight": 4, "priority": "2-7", "by": "key"}}}
    before = Limits.model_validate({"identity": written})
    after = with_temporary(before, [temporary("team-a", "1/s")])
    assert limit_of(after, "team-a") == (1.0, 3, False)
    assert Overrides(after).share("jwt", "team-a")[1:] == (4, 2, 7)
    assert limit_of(after, "team-b") == limit_of(before, "team-b")
    assert Overrides(after).share("key", "team-b")[1:] == (4, 2, 7)
    assert after.identity is not None and after.identity.native == before.identity.native
    assert with_temporary(before, []) is before


def test_a_limit_is_told_in_the_units_of_the_configuration() -> None:
    assert temporary("a", "90/m").words == "90/m, burst 3"
    timed = Limit.model_validate({"time": "250ms/s", "burst": "1s"})
    assert TemporaryLimit("model", "m", timed, 0.0).words == "250ms/s, burst 1s"
