"""Which versions may answer where promotions need approvals."""

from __future__ import annotations

from typing import Any

from modelward.config.schema import Config
from modelward.models.approved import Approved, changed, only_approved, refused_of, removed, settled, waiting
from modelward.models.facts import Facts

SERVED = {"m": ["1", "2", "3"], "free": ["1", "2"]}
NAMED: dict[str, dict[str, int]] = {}


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
    assert [(each.name, each.version) for each in refused_of(out)] == [("m", "3")]


def test_shares_go_to_what_may_answer() -> None:
    for weights, out, after in [
        ({"m": {"1": 90, "3": 10}}, {"m": ["3"]}, {"1": 90}),
        ({"m": {"3": 1}}, {"m": ["3"]}, {"2": 1}),
        ({}, {"m": ["3"]}, {"2": 1}),
        ({"m": {"2": 1}}, {"m": ["1", "2", "3"]}, {"1": 0, "2": 0, "3": 0}),
    ]:
        assert only_approved(weights, out, SERVED)["m"] == after
    assert only_approved({}, {"m": ["1"]}, SERVED) == {}, "the newest has all, as before"


def test_an_approved_version_does_not_change_its_files() -> None:
    approved = {"m": {"1": "a", "2": "b"}}
    now = facts(v1="a", v2="other", v3="new")
    (refused,) = changed(NEEDED, approved, now)
    assert (refused.name, refused.version) == ("m", "2")
    assert refused.problems[0].why == "other, not b"
    assert [*changed(config(), approved, now)] == [*changed(NEEDED, None, now)] == []


def test_what_answers_when_approvals_begin_is_approved_and_what_comes_later_is_not() -> None:
    now = facts(v1="a", v2="b")
    assert settled(config(), {"m": {"1": "a"}}, now, {"m": {"1": 1}}, NAMED) is None
    first: Approved | None = settled(NEEDED, None, now, {"m": {"1": 1}}, NAMED)
    assert first == {"m": {"1": "a"}}
    assert settled(NEEDED, first, now, {"m": {"2": 1}}, NAMED) == first
    assert settled(NEEDED, {}, now, {"m": {"1": 1}}, NAMED) == {}, "a model that came later"
    written = config({"promote": 1}, m={"versions": {"2": 1}})
    assert settled(written, first, now, {"m": {"2": 1}}, NAMED) == {"m": {"1": "a", "2": "b"}}, (
        "its changes are approved"
    )
    assert settled(written, first, now, {"m": {"2": 1}}, {"m": {"2": 1}}) == first, "a file that came after it"
    assert settled(written, {"m": {"2": "old"}}, now, {"m": {"2": 1}}, NAMED) == {"m": {"2": "old"}}, (
        "but not its files"
    )
    unguarded = config({"promote": 1, "reload": 0}, m={"versions": {"2": 1}})
    assert settled(unguarded, first, now, {"m": {"2": 1}}, NAMED) == first, "a model.yaml may say so"
    without = config({"promote": 0})
    assert settled(without, first, now, {"m": {"2": 1}}, NAMED) == {"m": {"2": "b"}}


def test_an_approved_version_that_answers_is_told_when_its_files_are_gone() -> None:
    approved, now, shares = {"m": {"1": "a", "2": "b"}}, facts(v1="a", v2="b", v3="c"), {"m": {"2": 1, "3": 1}}
    (told,) = removed(NEEDED, approved, now, shares, {"m": {"1"}})
    assert (told.name, told.version, told.problems[0].what) == ("m", "2", "its files are gone, and it answers")
    for approved_, there in [(approved, {"m": {"1", "2"}}), (approved, {}), ({"m": {"2": "other"}}, {"m": {"1"}})]:
        assert [*removed(NEEDED, approved_, now, shares, there)] == []
    assert [*removed(config(), approved, now, shares, {"m": {"1"}})] == [], "no approvals"
