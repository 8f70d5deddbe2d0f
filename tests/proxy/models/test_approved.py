"""Which versions may answer where promotions need approvals."""

from __future__ import annotations

from typing import Any

from modelward.config.schema import Config
from modelward.models.approved import Approved, admitted, changed, refused_of, removed, settled, waiting, written
from modelward.models.facts import Facts


def config(approvals: dict[str, int] | None = None, **models: Any) -> Config:
    operators = {"bindings": [{"user": 1, "roles": ["approver"]}]}
    own = {"free": {"approvals": {"promote": 0}}} if approvals is not None else {}
    admin = {"admin": "unix:/run/modelward.sock"}
    return Config.model_validate(
        {"listen": admin, "operators": operators, "approvals": approvals, "models": own | models}
    )


def facts(**digests: str) -> dict[str, dict[str, Facts]]:
    return {"m": {version[1:]: Facts("", profile=False, canary=False, digest=d) for version, d in digests.items()}}


NEEDED = config({"promote": 1})


def test_only_approved_versions_of_guarded_models_answer() -> None:
    approved = {"m": {"1": "a", "2": "b"}}
    served = facts(v1="a", v2="b", v3="c") | {"free": facts(v1="x")["m"]}
    out = waiting(NEEDED, approved, served)
    assert out == {"m": ["3"]}
    assert waiting(NEEDED, {"m": {"1": "a", "2": "other", "3": "c"}}, served) == {"m": ["2"]}, "with other files"
    assert waiting(NEEDED, {}, served) == {"m": ["1", "2", "3"]}, "a new model"
    assert waiting(NEEDED, None, served) == waiting(config(), approved, served) == {}
    refused = refused_of({"m": ["1", "3"]}, out)
    assert [each.version for each in refused] == ["1", "3"]
    assert "should answer is not there" in str(refused[0]) and "not promoted yet" in str(refused[1])


def shares_of(shares: dict[str, int], versions: dict[str, int] | None = None, **there: str) -> dict[str, int]:
    """What m's versions get of which these are approved: 1 with files a, 2 with b."""
    wanted = config({"promote": 1}, **({"m": {"versions": versions}} if versions is not None else {}))
    approved, found, served = {"m": {"1": "a", "2": "b"}}, facts(**there), {"m": [each[1:] for each in there]}
    weights, out = admitted(wanted, approved, {"m": shares} if shares else {}, found, served)
    assert (sum(weights["m"].values()) == 0) == (out.get("m") == served["m"]), "all are out where none answers"
    return {version: share for version, share in weights["m"].items() if share}


def test_shares_go_to_approved_versions_that_are_there() -> None:
    assert shares_of({"1": 90, "2": 10}, v1="a", v2="b", v3="c") == {"1": 90, "2": 10}
    assert shares_of({"1": 90, "3": 10}, v1="a", v3="c") == {"1": 90}
    assert shares_of({}, {"1": 90, "3": 10}, v1="a", v3="c") == {"1": 90}, "versions: approves nothing"
    assert shares_of({}, {"3": 1}, v1="a", v3="c") == {}
    assert shares_of({}, v1="a") == {}, "neither promoted nor named"
    free = {"free": facts(v1="x")["m"]}
    assert admitted(NEEDED, {}, {}, free, {"free": ["1"]}) == ({}, {}), "the newest has all, as before"


def test_no_other_version_takes_the_place_of_the_one_that_should_answer() -> None:
    assert shares_of({"2": 1}, v1="a", v3="c") == {}, "its files are gone"
    assert shares_of({"2": 1}, v1="a", v2="other") == {}, "or others"
    assert shares_of({"1": 90, "2": 10}, v2="b") == {}, "10 % were approved, not all"
    assert shares_of({"1": 90, "2": 10}, v1="a") == {"1": 90}
    assert shares_of({}, {"1": 1, "2": 9}, v1="a") == {}


def test_versions_of_the_configuration_count_where_they_are_approved() -> None:
    named = config({"promote": 1}, m={"versions": {"1": 9, "3": 1}})
    assert written(named, {"m": {"1": "a"}}, "m") == {"1": 9}
    assert written(named, {"m": {}}, "m") is None
    assert written(named, None, "m") == {"1": 9, "3": 1}
    assert written(config({"promote": 0}, m={"versions": {"3": 1}}), {}, "m") == {"3": 1}
    assert written(NEEDED, {}, "m") is None


def test_an_approved_version_does_not_change_its_files() -> None:
    approved = {"m": {"1": "a", "2": "b"}}
    now = facts(v1="a", v2="other", v3="new")
    (refused,) = changed(NEEDED, approved, now)
    assert (refused.name, refused.version) == ("m", "2")
    assert refused.problems[0].why == "other, not b"
    assert [*changed(config(), approved, now)] == [*changed(NEEDED, None, now)] == []


def test_what_answers_when_approvals_begin_is_approved_and_what_comes_later_is_not() -> None:
    now = facts(v1="a", v2="b")
    assert settled(config(), {"m": {"1": "a"}}, now, {"m": {"1": 1}}) is None
    first: Approved | None = settled(NEEDED, None, now, {"m": {"1": 1}})
    assert first == {"m": {"1": "a"}}
    assert settled(NEEDED, first, now, {"m": {"2": 1}}) == first
    assert settled(NEEDED, {}, now, {"m": {"1": 1}}) == {"m": {}}, "a model that came later"
    named = config({"promote": 1, "reload": 1}, m={"versions": {"2": 1}})
    assert settled(named, first, now, {"m": {"2": 1}}) == first, "approving versions: approves no files"
    assert settled(config({"promote": 0}), first, now, {"m": {"2": 1}}) == {"m": {"2": "b"}}


def test_an_approved_version_that_answers_is_told_when_its_files_are_gone() -> None:
    approved, now, shares = {"m": {"1": "a", "2": "b"}}, facts(v1="a", v2="b", v3="c"), {"m": {"2": 1, "3": 1}}
    (told,) = removed(NEEDED, approved, now, shares, {"m": {"1"}})
    assert (told.name, told.version, told.problems[0].what) == ("m", "2", "its files are gone, and it answers")
    for approved_, there in [(approved, {"m": {"1", "2"}}), (approved, {}), ({"m": {"2": "other"}}, {"m": {"1"}})]:
        assert [*removed(NEEDED, approved_, now, shares, there)] == []
    assert [*removed(config(), approved, now, shares, {"m": {"1"}})] == [], "no approvals"
