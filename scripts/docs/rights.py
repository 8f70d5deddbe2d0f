"""The page of rights: verbs by role, and the verb of each method of the admin API."""

from modelward.admin.needs import NEEDS
from modelward.operators.verbs import MEANING, OF_SERVER, ROLES, VERBS
from scripts.docs import markdown

INTRODUCTION = """
With [`operators:`](configuration.md#operators), each call of the admin API needs a verb, and an operator has the verbs
of its roles. [Operators](../how-to/operators.md) shows how to give roles. A role of your own is a list of these roles
and verbs.
"""
SERVER = """
**Whole server**: the verb concerns no single model. It takes a binding with `models: ["*"]`, which is the default.
"""
METHODS = """
`seen`: the answer holds only models for which the operator has the verb. `server`: a binding with `models: ["*"]`.
"""


def page() -> str:
    columns = ("Verb", "Allows to", "Whole server", *(f"`{role}`" for role in ROLES))
    rows = [
        (
            f"`{verb}`",
            MEANING[verb],
            "yes" if verb in OF_SERVER else "",
            *("yes" if role in roles else "" for role in ROLES),
        )
        for verb, roles in VERBS.items()
    ]
    methods = [
        (f"`{name}`", f"`{need.verb}`" if need.verb is not None else "none: whose name is proved", need.of)
        for name, need in NEEDS.items()
    ]
    return markdown.page(
        "Rights of operators",
        INTRODUCTION,
        "## Verbs and roles",
        markdown.table(columns, rows),
        SERVER,
        "## Methods of the admin API",
        markdown.table(("Method", "Verb", "Of"), methods),
        METHODS,
    )
