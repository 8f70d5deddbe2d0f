"""Rules as the data plane asks them."""

import pytest

from modelward.access.rules import Rules
from modelward.config.access import Rule, pattern
from modelward_native.access.identities import PERMITS


def rule(**settings: object) -> Rule:
    return Rule.model_validate({"models": ["*"], **settings})


@pytest.mark.parametrize(
    ("text", "name", "fits"),
    [
        ("spiffe://prod/*", "spiffe://prod/ns/a/sa/b", True),
        ("spiffe://prod/*", "spiffe://prod", False),
        ("spiffe://prod/*", "xspiffe://prod/a", False),
        ("*@example.com", "a@example.com", True),
        ("*@example.com", "a@example.com.evil.org", False),
        ("a.b", "axb", False),
        ("[a]", "a", False),
        ("a*c*e", "abcde", True),
        ("*", "", True),
        ("a", "a\n", False),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_is_special(text: str, name: str, fits: bool) -> None:
    assert bool(pattern(text).fullmatch(name)) is fits


def test_rules_that_match_add_up() -> None:
    rules = Rules((rule(identity="a*", models=["x"], methods=["infer"]), rule(identity="ab", methods=["statistics"])))
    assert rules.matching("jwt", "ab") == (0, 1)
    assert rules.permits((0, 1), "x") == PERMITS["infer"] | PERMITS["statistics"]
    assert rules.permits((0, 1), "y") == PERMITS["statistics"]
    assert rules.permits((), "x") == 0


def test_a_rule_counts_for_the_ways_of_proof_it_names() -> None:
    rules = Rules((rule(identity="a", by="certificate"), rule(identity="a", by=["jwt", "key"])))
    assert rules.matching("certificate", "a") == (0,)
    assert rules.matching("jwt", "a") == (1,)


def test_a_name_that_is_not_served_is_for_rules_for_all_models() -> None:
    rules = Rules((rule(identity="a", models=["x*"]), rule(identity="b", models=["x", "*"])))
    assert rules.permits((0,), None) == 0
    assert rules.permits((1,), None) == PERMITS["infer"] | PERMITS["stream"] | PERMITS["metadata"]


def test_anonymous_callers_have_rules_of_their_own_and_no_others() -> None:
    assert Rules((rule(identity="*"),)).matching_anonymous() is None
    rules = Rules((rule(identity="*"), rule(anonymous=True)))
    assert rules.matching_anonymous() == (1,)
    assert rules.matching("jwt", "anonymous") == (0,)
