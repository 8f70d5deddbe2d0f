"""What bindings, roles and model patterns allow."""

import os
import pwd

import pytest

from modelward.config.operators import ROLES as NAMES
from modelward.config.operators import VERBS as VERB_NAMES
from modelward.config.operators import Operators
from modelward.operators.identity import Operator
from modelward.operators.rights import Rights
from modelward.operators.verbs import MEANING, OF_SERVER, ROLES, VERBS

ISSUER = "https://a.example"
JWT = {"issuer": ISSUER, "audience": "admin", "jwks": "keys.json"}


def rights(*bindings: dict[str, object], **more: object) -> Rights:
    return Rights(Operators.model_validate({"tokens": [JWT], "bindings": bindings, **more}))


def user(uid: int, *gids: int) -> Operator:
    return Operator("somebody", "socket", uid=uid, gids=gids)


def test_the_tables_are_of_the_same_verbs_and_roles() -> None:
    assert (*VERBS,) == (*MEANING,) == VERB_NAMES
    assert ROLES == NAMES
    assert {role for roles in VERBS.values() for role in roles} == {*ROLES}
    assert {*VERBS} > OF_SERVER


def test_without_operators_everybody_may_do_everything() -> None:
    stranger = Operator("127.0.0.1", "address")
    assert all(Rights(None).may(stranger, verb, "m").allowed for verb in VERBS)
    assert Rights(None).breaks_glass(stranger)
    assert Rights(None).seen(stranger)("m")


def test_with_operators_nobody_may_do_what_no_binding_says() -> None:
    of = rights()
    for verb in VERBS:
        decision = of.may(user(0), verb, "m")
        assert (decision.allowed, decision.why) == (False, "no binding is for user somebody (uid 0)")
        assert decision.roles == VERBS[verb]
    assert not of.seen(user(0))("m")
    assert not of.breaks_glass(user(0))


@pytest.mark.parametrize(
    ("binding", "matches", "others"),
    [
        (
            {"certificate": "spiffe://prod/ops/*"},
            [Operator("spiffe://prod/ops/alice", "certificate", "any")],
            [
                Operator("spiffe://prod/ops/alice", "token", ISSUER),
                Operator("spiffe://prod/opsalice", "certificate"),
                Operator("x-spiffe://prod/ops/alice", "certificate"),
            ],
        ),
        (
            {"token": "*@a.example"},
            [Operator("bob@a.example", "token", ISSUER)],
            [Operator("bob@a.example", "certificate"), Operator("bob@a.example.net", "token", ISSUER)],
        ),
        (
            {"token": "bob", "issuer": ISSUER},
            [Operator("bob", "token", ISSUER)],
            [Operator("bob", "token", "https://b.example")],
        ),
        ({"user": 7}, [user(7)], [user(8, 7), Operator("7", "token", ISSUER), Operator("7", "certificate", uid=None)]),
        ({"user": "7"}, [user(7)], [user(8)]),
        ({"user": pwd.getpwuid(os.getuid()).pw_name}, [user(os.getuid())], [user(4_000_000)]),
        ({"group": 9}, [user(7, 9), user(7, 1, 9)], [user(9, 7), user(9)]),
    ],
)
def test_a_binding_is_for_its_own_kind_of_proof_alone(
    binding: dict[str, object], matches: list[Operator], others: list[Operator]
) -> None:
    of = rights({**binding, "roles": ["viewer"]})
    assert [of.may(each, "status").allowed for each in matches] == [True] * len(matches)
    assert [of.may(each, "status").allowed for each in others] == [False] * len(others)


def test_a_user_that_this_machine_does_not_have_matches_nobody() -> None:
    of = rights({"user": "no-such-user", "roles": ["viewer"]}, {"group": "no-such-group", "roles": ["viewer"]})
    assert of.unknown == ["user no-such-user", "group no-such-group"]
    assert not of.may(user(0, 0), "status").allowed


def test_bindings_add_up_and_models_stay_with_their_roles() -> None:
    of = rights(
        {"user": 7, "roles": ["viewer"]},
        {"user": 7, "roles": ["deployer"], "models": ["fraud-*", "credit"]},
    )
    assert of.may(user(7), "promote", "fraud-a").roles == ("deployer",)
    assert of.may(user(7), "promote", "credit").allowed
    refused = of.may(user(7), "promote", "other")
    assert not refused.allowed
    assert (
        refused.why
        == "user somebody (uid 7) has the right promote for models fraud-*, credit, and other is none of them"
    )
    assert of.may(user(7), "status", "other").allowed
    assert not of.may(user(7), "reload").allowed, "it concerns the whole server"
    assert of.models(user(7), "promote") == ("fraud-*", "credit")


def test_who_sees_some_models_sees_no_others_and_not_the_whole_server() -> None:
    of = rights({"user": 7, "roles": ["viewer"], "models": ["fraud-*"]})
    sees = of.seen(user(7))
    assert [sees(each) for each in ("fraud-a", "fraud", "other", "", None)] == [True, False, False, False, False]
    assert of.may_for_any(user(7), "status").allowed
    assert not of.may_for_any(user(7), "promote").allowed


def test_roles_of_ones_own_are_of_roles_and_verbs() -> None:
    of = rights({"user": 7, "roles": ["bot"]}, roles={"bot": ["viewer", "promote"]})
    allowed = {verb for verb in VERBS if of.may(user(7), verb, "m").allowed}
    assert allowed == {"status", "report", "proposals", "promote"}
    assert of.may(user(7), "promote", "m").roles == ("bot",)
    assert of.may(user(7), "force", "m").roles == ("deployer",)
    assert of.may(user(8), "promote", "m").roles == ("deployer", "bot")


def test_the_glass_is_broken_by_the_roles_that_are_named_and_for_their_models() -> None:
    bindings = (
        {"user": 7, "roles": ["operator", "viewer"], "models": ["a"]},
        {"user": 8, "roles": ["viewer"]},
    )
    of = rights(*bindings, break_glass=["operator"])
    assert [of.breaks_glass(user(7), model) for model in ("a", "b", None)] == [True, False, False]
    assert of.breaks_glass_for_any(user(7))
    assert not of.breaks_glass_for_any(user(8))


def test_names_that_are_too_long_match_no_pattern() -> None:
    of = rights({"user": 7, "roles": ["deployer"], "models": ["a*"]})
    assert not of.may(user(7), "promote", "a" * 513).allowed
