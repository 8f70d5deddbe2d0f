"""The guide to scanning lists the rules as the code has them."""

import pytest

from modelward.scanning.rules import RULES
from scripts.docs.rules import PAGE, with_rules


def test_the_page_is_as_the_code_has_it() -> None:
    assert PAGE.read_text() == with_rules(PAGE.read_text()), "run `make docs` and commit what it writes"


def test_every_rule_stands_there_and_each_says_all() -> None:
    page = PAGE.read_text()
    for name, rule in RULES.items():
        assert f"| `{name}` | {rule.severity} |" in page
        assert rule.finds and rule.why and rule.how
        assert not any(text.endswith(".") for text in (rule.finds, rule.why, rule.how))


def test_a_page_without_a_place_for_the_rules_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places"):
        with_rules("# Nothing\n")
