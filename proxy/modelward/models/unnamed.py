"""Versions whose signatures do not say of which model and version they are."""

from collections.abc import Iterable

from modelward.models.inventory import CheckedVersion
from modelward.models.twins import MOST_TOLD
from modelward.problem import Problem


def unnamed(models: Iterable[CheckedVersion]) -> list[Problem]:
    """One note on all whose signature would count for another version too."""
    found = [f"{model.name} version {model.version}" for model in models if model.provenance.unnamed]
    if not found:
        return []
    what = "signatures name no model and version, and would count for others"
    why = ", ".join(found[:MOST_TOLD]) + (f" and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else "")
    how = "Sign them with modelward model sign, then set integrity.names: require"
    return [Problem(what, "integrity", why, how)]
