"""The table of the scan's rules, in the guide to scanning models."""

import re

from modelward.scanning.rule import SEVERITIES
from modelward.scanning.rules import RULES
from scripts.docs import DOCS, markdown

PAGE = DOCS / "how-to" / "scan-models.md"
MARKED = re.compile(r"(<!-- rules -->\n).*?(<!-- /rules -->)", re.DOTALL)


def with_rules(page: str) -> str:
    """The page with the rules as the code has them. Raises ValueError where it has no place for them."""
    written, count = MARKED.subn(lambda place: f"{place[1]}\n{_table()}\n\n{place[2]}", page)
    if count != 1:
        raise ValueError(f"{count} places for the rules")
    return written


def _table() -> str:
    """The worst first."""
    rules = sorted(RULES.items(), key=lambda item: SEVERITIES.index(item[1].severity))
    rows = [(markdown.code(name), rule.severity, rule.finds, rule.why) for name, rule in rules]
    return markdown.table(("rule", "severity", "finds", "why it matters"), rows)
