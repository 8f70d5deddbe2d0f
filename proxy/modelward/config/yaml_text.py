"""YAML read strictly: line numbers kept, a key given twice is an error, and `off` is a word.

Scalars follow YAML 1.2's core schema (only true and false are booleans, no octal by a leading zero, no base 60, no
dates), since 1.1 turns `mode: off` into false. Keys are always text. Anchors work; what they expand to is counted.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from modelward.config.layer import Layer, Path
from modelward.problem import Problem, ProblemsFound

# Far above any configuration, far below what an alias that multiplies itself ("billion laughs") expands to.
MOST_NODES = 100_000
DEEPEST = 40
LONGEST_NUMBER = 100  # characters: Python neither reads nor prints integers of any length

_TAG = "tag:yaml.org,2002:"


class _CoreLoader(yaml.SafeLoader):
    """The scanner and parser of PyYAML with the implicit types of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own protocol


_INTEGER = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INTEGER.pattern, list("-+0123456789")),
    ("float", _FLOAT.pattern, list("-+0123456789.")),
):
    _CoreLoader.add_implicit_resolver(_TAG + _tag, re.compile(f"(?:{_pattern})$"), _first)


_THOUSANDS = re.compile(r"[0-9]{3}")


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Keys and values. Between braces YAML reads the `000` of 10,000 as a key without a value: it is put back to its
    number, so that what checks the value tells what to write."""
    pairs: list[tuple[yaml.Node, yaml.Node]] = []
    for key, value in node.value:
        before = pairs[-1][1] if pairs and node.flow_style else None
        if (
            isinstance(before, yaml.ScalarNode)
            and before.value[-1:].isdigit()
            and not before.style
            and isinstance(key, yaml.ScalarNode)
            and _THOUSANDS.fullmatch(key.value)
            and isinstance(value, yaml.ScalarNode)
            and value.start_mark.index == value.end_mark.index == key.end_mark.index
        ):
            text = f"{before.value},{key.value}"
            pairs[-1] = pairs[-1][0], yaml.ScalarNode(_TAG + "str", text, before.start_mark, key.end_mark)
        else:
            pairs.append((key, value))
    yield from pairs


class _Reader:
    """Turns one composed document into values and origins."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes = 0
        self.origins: dict[Path, str] = {}
        self.problems: list[Problem] = []

    def place(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}" if self.name else ""

    def fail(self, node: yaml.Node, what: str, how: str) -> ProblemsFound:
        return ProblemsFound([*self.problems, Problem(what, self.place(node), how=how)])

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.nodes += 1
        if self.nodes > MOST_NODES or len(path) > DEEPEST:
            raise self.fail(
                node, "the document is too large or too deep", f"At most {MOST_NODES} values, {DEEPEST} deep"
            )
        if not isinstance(node, yaml.ScalarNode) and node.tag not in (_TAG + "map", _TAG + "seq"):
            raise self.fail(node, f"the tag {node.tag!r} is not supported", "Write the value without a tag")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.item(child, (*path, i)) for i, child in enumerate(node.value)]
        return self.scalar(node)

    def item(self, node: yaml.Node, path: Path) -> Any:
        self.origins[path] = self.place(node)
        return self.value(node, path)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first: dict[str, yaml.Node] = {}
        for key_node, value_node in _pairs(node):
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.fail(key_node, "a key is not text", "Write it as one word")
            key = key_node.value
            if key in first:
                self.problems.append(
                    Problem(
                        f"{key} is given twice",
                        self.place(key_node),
                        f"it stands on line {first[key].start_mark.line + 1} too",
                        "Keep one of them",
                    )
                )
            first[key] = key_node
            self.origins[(*path, key)] = self.place(key_node)
            result[key] = self.value(value_node, (*path, key))
        return result

    def scalar(self, node: yaml.Node) -> str | int | float | bool | None:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str":
                return text
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" | "float" if len(text) > LONGEST_NUMBER:
                raise self.fail(node, f"{text[:40]!r}... is no number that is used here", "Write a shorter one")
            case "int" if _INTEGER.fullmatch(text):
                return int(text, 16 if text.startswith("0x") else 10)
            case "float" if _FLOAT.fullmatch(text):
                return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
        raise self.fail(node, f"{text[:40]!r} does not fit its tag {node.tag!r}", "Write the value without a tag")


def _parse(text: str, name: str, reader: _Reader) -> Any:
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ProblemsFound([Problem("this is not YAML", where, error.problem or "", "Mend the line")]) from error
    except yaml.YAMLError as error:
        raise ProblemsFound([Problem("this is not YAML", name, str(error).partition("\n")[0], "Mend it")]) from error
    except RecursionError as error:
        raise ProblemsFound([Problem("the document is too deep", name, how=f"At most {DEEPEST} levels")]) from error
    return None if node is None else reader.value(node, ())


def read_document(text: str, name: str) -> Layer:
    """The settings of one file; `name` is how its lines are shown. Raises ProblemsFound."""
    reader = _Reader(name)
    values = _parse(text, name, reader)
    if reader.problems:
        raise ProblemsFound(reader.problems)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ProblemsFound([Problem("the document is not a mapping", f"{name}:1", how="Write key: value lines")])
    return Layer(values, reader.origins)


def read_value(text: str) -> Any:
    """One value from a flag or variable. Text that is no YAML, such as [::1]:8001, stands for itself."""
    try:
        return _parse(text, "", _Reader(""))
    except ProblemsFound:
        return text
