"""The schema of the chart's values, and the keys that it replaces pods for. `config` in the schema is the server's own,
without what the chart sets.
"""

import json
from typing import Any

from modelward.cli.schema import schema
from modelward.config.changes import FIXED
from modelward.config.shorthands import WithShorthands
from scripts.docs import ROOT

CHART = ROOT / "deploy" / "helm" / "modelward"
FILE = CHART / "values.schema.json"
FIXED_FILE = CHART / "files" / "fixed.json"
OWNED = ("listen", "drain", "repository", "state", "tls", "admin_tls")
"""Keys of the configuration that follow from other values of the chart."""
STORES = ("Shared", "Postgres", "Fleet")
"""Sections whose URL the chart may set in its place."""
NOT_SHOWN = ("description", "title", "default", "examples", "format")


def with_config(text: str) -> str:
    """The file with the configuration's present schema in it."""
    whole = json.loads(text)
    config = _bare(schema(WithShorthands))
    whole["$defs"] = config.pop("$defs")
    for name in STORES:
        whole["$defs"][name]["anyOf"][0]["required"].remove("url")
    for key in OWNED:
        del config["properties"][key]
    whole["properties"]["config"] = {key: value for key, value in config.items() if key != "$schema"}
    _keep_used(whole)
    return json.dumps(whole, indent=1) + "\n"


def fixed_keys() -> str:
    """Keys whose changes a running server cannot follow, for the chart: it replaces the pods then."""
    return json.dumps(sorted(FIXED)) + "\n"


def write() -> None:
    FILE.write_text(with_config(FILE.read_text()))
    FIXED_FILE.parent.mkdir(exist_ok=True)
    FIXED_FILE.write_text(fixed_keys())


def _bare(node: Any, names: bool = False) -> Any:
    """Without what is for readers. names: the keys of the node are names, not words of JSON schema."""
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _bare(value, not names and key in ("properties", "$defs"))
        for key, value in node.items()
        if names or key not in NOT_SHOWN
    }


def _keep_used(whole: dict[str, Any]) -> None:
    """Drops definitions that only the keys of OWNED used."""
    definitions = whole.pop("$defs")
    used: dict[str, Any] = {}
    found = _references(whole)
    while found:
        name = found.pop()
        if name not in used:
            used[name] = definitions[name]
            found |= _references(used[name])
    whole["$defs"] = dict(sorted(used.items()))


def _references(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_references, node))
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"].removeprefix("#/$defs/")} if isinstance(node.get("$ref"), str) else set()
    return own.union(*map(_references, node.values()))
