"""What READY and `check` say of version_policy."""

from __future__ import annotations

from typing import Any

from modelward.config.schema import Config
from modelward.models.policy import ACTS_AS_PROMOTED, LISTED, policy_notes


def told(names: list[str], **settings: Any) -> list[str]:
    """Notes about models without versions that differ in their guards."""
    operators = {"bindings": [{"user": "root", "roles": ["approver"]}]}
    config = Config.model_validate({"listen": {"admin": "unix:/x"}, "operators": operators, **settings})
    return [str(note) for note in policy_notes(config, {name: {} for name in names})]


def test_each_model_that_approvals_keep_from_its_newest_version_is_told_with_the_way_to_promote() -> None:
    own = {"b": {"version_policy": "promoted"}, "c": {"versions": {"1": 1}}, "d": {"approvals": {"promote": 0}}}
    (note,) = told(["a", "b", "c", "d"], approvals={"promote": 1}, models=own)
    assert note.startswith(f"model a: {ACTS_AS_PROMOTED}: promotions need approvals")
    assert "modelward promote a VERSION" in note
    assert told(["a"]) == told(["a"], approvals={"promote": 0}) == []
    assert told(["a"], approvals={"promote": 1}, version_policy="promoted") == []


def test_a_model_alone_may_need_approvals() -> None:
    (note,) = told(["a", "b"], approvals={"promote": 0}, models={"b": {"approvals": {"promote": 1}}})
    assert note.startswith("model b")


def test_of_many_models_the_first_are_named() -> None:
    *named, rest = told([f"m{i}" for i in range(LISTED + 3)], approvals={"promote": 1})
    assert len(named) == LISTED
    assert rest.startswith("3 more models")
