"""The page of the audit trail's records, from their schema and the table of verbs."""

from collections.abc import Mapping
from typing import Any

from modelward.audit.record import schema
from modelward.audit.verbs import MINUTE, PEOPLE, SERVER
from scripts.docs import markdown

INTRODUCTION = """
A record of the [audit trail](../how-to/audit.md) is one JSON document in UTF-8, and a leaf of the log as it is. It
begins with its number `n`. Fields that say nothing are left out. `modelward audit schema` prints the JSON schema.

A text has at most 2,000 characters, and is cut beyond. A record has at most 32 KiB; where it would have more, the
fields without a bound of their own are left out, and `figures.left_out` says so. No credential, tensor or key enters a
record.
"""


def page() -> str:
    described = schema()
    rows = [_row(name, each, name in described["required"]) for name, each in described["properties"].items()]
    actor = described["$defs"]["Actor"]
    rows += [_row(f"actor.{name}", each, name in actor["required"]) for name, each in actor["properties"].items()]
    blocks = [INTRODUCTION, "## Fields", markdown.table(("field", "type", "always", "meaning"), rows)]
    for title, verbs in (("What people do", PEOPLE), ("What the server decides", SERVER), ("Summaries", MINUTE)):
        blocks += [f"## {title}", markdown.table(("verb", "meaning"), [(f"`{v}`", m) for v, m in verbs.items()])]
    return markdown.page("Records of the audit trail", *blocks)


def _row(name: str, described: Mapping[str, Any], required: bool) -> tuple[str, str, str, str]:
    kinds = [described, *described.get("anyOf", ())]
    values = [value for each in kinds for value in each.get("enum", ())]
    types = [each["type"] for each in kinds if "type" in each and each["type"] != "null"]
    kind = ", ".join(f"`{value}`" for value in values) or " or ".join(types) or "any"
    return f"`{name}`", kind, "yes" if required else "", described.get("description", "")
