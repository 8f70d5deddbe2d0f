"""The page of configuration keys, from the schema that `modelward schema` prints."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelward.cli.schema import schema
from modelward.config.rate_limit import LARGEST_BURST
from modelward.config.units import BACKEND_TIME_PATTERN, DURATION_PATTERN, RATE_PATTERN, SIZE_PATTERN
from scripts.docs import markdown
from scripts.docs.configuration_examples import EXAMPLES

Node = dict[str, Any]

UNITS = {
    DURATION_PATTERN: "duration",
    RATE_PATTERN: "rate",
    BACKEND_TIME_PATTERN: "backend time",
    SIZE_PATTERN: "size",
}
INTRODUCTION = """
All keys, with their types and defaults. `modelward check --config FILE` validates a file, and `modelward schema` prints
the same as JSON schema for editors. An unknown key is an error.

A value comes from the first of these that sets it: a flag (`--set models.fraud.deadline=20ms`), the environment
(`MODELWARD__LISTEN__GRPC=0.0.0.0:8001`), the file of `--config`, the model's own `NAME/model.yaml` in the repository,
the default.

A variable of the environment is `MODELWARD__` and the path of the key, with two underscores for each dot:
`MODELWARD__MODELS__fraud__DEADLINE=20ms`. Names of models keep their case.

A path, and a `unix:` address, may hold variables of the environment: `${CREDENTIALS_DIRECTORY}/server.pem`. A path
that begins with one is not relative to the configuration file. A variable that is not set is an error. A `model.yaml`
may hold none. Other texts stay as they are.

In the tables, `NAME` stands for a name that you choose, and `[]` for each item of a list.
"""
TYPES = (
    ("duration", "`50ms`, `1.5s`, `2m`", "A number and a unit: `ns`, `us`, `ms`, `s`, `m`, `h`. At most `24h`."),
    ("rate", "`1000/s`, `60/m`", "Events per second, minute or hour."),
    ("backend time", "`500ms/s`", "Time of the backend per second, minute or hour."),
    ("size", "`16MiB`, `65536`", "Bytes, or a number and a unit: `KB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`."),
    (
        "path",
        "`models/fraud.onnx`",
        "A file or folder. A relative path starts at the folder of the configuration file.",
    ),
)


@dataclass
class Section:
    """A mapping of known keys. path: with dots, empty for the whole configuration."""

    path: str
    description: str
    node: Node


def page() -> str:
    blocks = [INTRODUCTION, "## Types", markdown.table(("Type", "Examples", "Meaning"), TYPES)]
    root = schema()
    for section in sections(root):
        heading = f"{markdown.code(section.path)} {{ #{anchor(section.path)} }}" if section.path else "Top level"
        blocks += [f"## {heading}", section.description]
        blocks += [markdown.fenced(each, "yaml") for each in examples_of(section.path)]
        blocks.append(markdown.table(("Key", "Type", "Default", "Meaning"), _rows(section, root)))
    return markdown.page("Configuration", *blocks)


def examples_of(path: str) -> list[str]:
    return EXAMPLES[path].split("---\n") if path in EXAMPLES else []


def sections(root: Node) -> Iterator[Section]:
    """Every section, each before those in it."""
    yield from _below(Section("", root.get("description", ""), root), root)


def _below(section: Section, root: Node) -> Iterator[Section]:
    yield section
    for key, field in section.node["properties"].items():
        if (found := _mapping(field, root, _join(section.path, key))) is not None:
            path, node = found
            text = "\n\n".join(filter(None, (field.get("description", ""), node.get("description", ""))))
            yield from _below(Section(path, text, node), root)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _mapping(field: Node, root: Node, path: str) -> tuple[str, Node] | None:
    """The section that a key leads to, and its path; None where its value is a plain one."""
    if "$ref" in field:
        return path, root["$defs"][field["$ref"].rpartition("/")[2]]
    if "items" in field:
        return _mapping(field["items"], root, f"{path}[]")
    if isinstance(below := field.get("additionalProperties"), dict):
        return _mapping(below, root, f"{path}.NAME")
    for each in field.get("anyOf", ()):
        if (found := _mapping(each, root, path)) is not None:
            return found
    return None


def _rows(section: Section, root: Node) -> Iterator[tuple[str, str, str, str]]:
    required = section.node.get("required", ())
    for key, field in section.node["properties"].items():
        path = _join(section.path, key)
        found = _mapping(field, root, path)
        text = field.get("description", "")
        if found is not None:
            text = f"{text or found[1].get('description', '')} See [{markdown.code(found[0])}](#{anchor(found[0])})."
        own_heading = found is not None and anchor(found[0]) == anchor(path)
        yield (
            markdown.code(key) if own_heading else f'<a id="{anchor(path)}"></a>{markdown.code(key)}',
            type_of(field),
            "required" if key in required else default_of(field),
            text,
        )


def anchor(path: str) -> str:
    """By which pages link to a key or a section: its path, without the marks of lists."""
    return path.replace("[]", "")


def type_of(field: Node) -> str:
    if "anyOf" in field:
        kinds = dict.fromkeys(type_of(each) for each in field["anyOf"] if each.get("type") != "null")
        return (", or " if any("," in kind for kind in kinds) else " or ").join(kinds)
    if "$ref" in field:
        return "section"
    if "const" in field:
        return markdown.code(str(field["const"]))
    if "enum" in field:
        return ", ".join(map(markdown.code, field["enum"]))
    if "items" in field:
        kind = type_of(field["items"])
        return f"list of {kind}".replace("section", "sections").replace("integer", "integers")
    if isinstance(field.get("prefixItems"), list):
        return "list"
    if isinstance(field.get("additionalProperties"), dict):
        return f"mapping to {type_of(field['additionalProperties'])}"
    kind = str(field.get("type", "any"))
    if kind == "string":
        return UNITS.get(str(field.get("pattern")), "path" if field.get("format") == "path" else "text")
    if kind in ("integer", "number"):
        return kind + _bounds(field)
    return {"boolean": "`true`, `false`", "object": "mapping"}.get(kind, kind)


def _bounds(field: Node) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    high = None if high == LARGEST_BURST else high  # as good as none
    if low is not None and high is not None:
        return f", {low} to {high}"
    words = (("above", above), ("at least", low), ("below", below), ("at most", high))
    return "".join(f", {word} {bound}" for word, bound in words if bound is not None)


def default_of(field: Node) -> str:
    default = field.get("default")
    if default is None or default in ({}, []):
        return "none"
    if isinstance(default, dict):
        return "see section"
    return markdown.code(default if isinstance(default, str) else json.dumps(default))
