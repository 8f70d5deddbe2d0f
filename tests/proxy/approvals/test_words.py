"""What READY and `check` say of approvals."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelward.approvals import approver
from modelward.approvals.words import notes, words
from modelward.config.schema import Config

KEY = "MCowBQYDK2VwAyEA" + "A" * 43 + "="


def config(approvals: dict[str, Any] | None, roles: list[str] | None = None, **fields: Any) -> Config:
    operators = {"bindings": [{"user": 1, "roles": roles or ["approver"]}], "roles": {"duty": ["viewer", "approve"]}}
    listen = {"admin": "unix:/run/modelward.sock"}
    return Config.model_validate({"listen": listen, "operators": operators, "approvals": approvals, **fields})


def test_counts_are_told_and_models_that_have_their_own() -> None:
    assert words(config(None)) == ""
    assert words(config({"rollback": 1})) == "promote 1, force 2, rollback 1, reload 1"
    own = config({"force": 0}, models={"m": {"approvals": {"promote": 3}}})
    assert words(own) == "promote 1, force 1, reload 1; others for 1 model"
    assert [own.approvers(verb, "m") for verb in ("promote", "force", "rollback")] == [3, 3, 0]


def test_what_new_versions_wait_for_is_the_policy_in_effect() -> None:
    mixed = config({"promote": 0}, models={"m": {"approvals": {"promote": 1}}, "n": {"version_policy": "promoted"}})
    assert [mixed.policy(name) for name in ("m", "n", "other")] == ["promoted", "promoted", "newest"]


@pytest.mark.parametrize(
    ("given", "roles", "said"),
    [
        ({"reload": 0}, ["approver"], "promotions need approvals, and the configuration does not"),
        ({}, ["viewer"], "nobody can approve anything"),
    ],
)
def test_what_is_probably_not_meant_is_noted(given: dict[str, Any], roles: list[str], said: str) -> None:
    assert said in [note.what for note in notes(config(given, roles))]


def test_somebody_who_can_approve_is_enough() -> None:
    told = [note.what for note in notes(config({}, ["duty"]))]
    assert "nobody can approve anything" not in told


@pytest.mark.parametrize(
    ("name", "people", "is_known"),
    [("1", {}, True), ("bob", {}, False), ("bob", {"bob": ["1"]}, True), ("bob", {"robert": ["bob", "1"]}, True)],
)
def test_a_key_of_somebody_without_a_binding_does_not_count(name: str, people: dict[str, Any], is_known: bool) -> None:
    given = config({"keys": {name: KEY}, "people": people})
    told = [note.what for note in notes(given)]
    assert (f"the signature of {name} does not count" not in told) == is_known
    assert [*approver.keys(given)] == [name] * is_known


@pytest.mark.parametrize(
    ("binding", "counts"),
    [
        ({"certificate": "bob", "roles": ["approver"]}, True),
        ({"certificate": "b*", "roles": ["approver"]}, True),
        ({"user": 0, "roles": ["approver"]}, False),
        ({"user": "bob", "roles": ["duty"]}, True),
        ({"user": "bob", "roles": ["deployer"]}, False),
        ({"user": "bob", "roles": ["approver"], "models": ["m"]}, False),
        ({"group": "ml", "roles": ["approver"]}, True),
    ],
)
def test_a_signature_counts_for_approvers_of_the_whole_server(binding: dict[str, Any], counts: bool) -> None:
    tls = {"certificate": "a.pem", "key": "a.key", "client_ca": "ca.pem"}
    where = {"listen": {"admin": "127.0.0.1:8003"}, "admin_tls": tls} if "certificate" in binding else {}
    operators = {"bindings": [binding], "roles": {"duty": ["viewer", "approve"]}}
    given = config({"keys": {"bob": KEY}}, operators=operators, **where)
    assert [*approver.keys(given)] == ["bob"] * counts
    doubt = "whether bob may still approve cannot be told by a signature"
    assert (doubt in [note.what for note in notes(given)]) == ("group" in binding)


def test_the_user_with_a_number_is_known_by_name() -> None:
    given = config({"keys": {"root": KEY}}, operators={"bindings": [{"user": 0, "roles": ["approver"]}]})
    assert [*approver.keys(given)] == ["root"]


def test_what_needs_more_approvals_than_there_are_approvers_is_noted() -> None:
    told = [note.what for note in notes(config({"promote": 2, "reload": 2, "keys": {"eve": KEY}}))]
    assert "promote needs 2 approvals, and only 1 can approve" in told
    assert "reload needs 2 approvals, and only 1 can approve" in told, "a key makes no approver"
    assert not [note for note in notes(config({"promote": 1, "force": 1})) if "needs" in note.what.split(" and ")[0]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"operators": None}, "approvals is set and no operator has a name"),
        (
            {"approvals": None, "models": {"m": {"approvals": {"promote": 1}}}},
            "models.m.approvals is set and approvals",
        ),
        ({"approvals": {"promote": 9}}, "less than or equal to 8"),
        ({"approvals": {"keys": {"bob": "AAAA"}}}, "this is no public key of an approver"),
        ({"approvals": {"people": {"a": ["x"], "b": ["x"]}}}, "x belongs to a and to b"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(wrong.pop("approvals", {}), **wrong)


def test_names_of_one_person_are_one() -> None:
    approvals = config({"people": {"ada": ["ada@example.com", "ops-ada"]}}).approvals
    assert approvals is not None
    assert [approvals.person(name) for name in ("ops-ada", "ada@example.com", "ada", "bob")] == ["ada"] * 3 + ["bob"]


def test_files_that_no_approval_covers_are_noted_by_their_keys() -> None:
    said = "files that the configuration names change without an approval"
    files = {
        "listen": {"admin": "127.0.0.1:8003"},
        "operators": {"bindings": [{"certificate": "bob", "roles": ["approver"]}]},
        "admin_tls": {"certificate": "a.pem", "key": "a.key", "client_ca": "ca.pem"},
        "integrity": {"keys": {"ml": "ml.pub"}},
    }
    (told,) = [note for note in notes(config({}, **files)) if note.what == said]
    assert told.why == "admin_tls.certificate, admin_tls.key, admin_tls.client_ca, integrity.keys.ml"
    assert "Let only administrators write these files" in told.how
    assert said not in [note.what for note in notes(config({}))]
    assert said not in [note.what for note in notes(config({"promote": 0, "reload": 0}, **files))]
