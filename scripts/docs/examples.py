"""What documents show for a reader to copy: configurations and commands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelward.cli.app import COMMANDS
from modelward.config.fallback_chain import cross_check
from modelward.config.model import ModelSettings
from modelward.config.schema import Config
from modelward.config.yaml_text import read_document
from modelward.problem import ProblemsFound
from scripts.docs import ROOT, commands

FENCED = re.compile(r"^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}(.*)$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|[\s;|&$(])modelward +(?=[a-z])")
END = re.compile(r"\s(?:[|;&>#]|\d?>)|\)\s*$")  # of a command in a line of a shell
# a mapping with one of these is of another program
FOREIGN = {
    "shape",
    "apiVersion",
    "containers",
    "services",
    "scrape_configs",
    "groups",
    "rules",
    "spec",
    "on",
    "jobs",
    "parameters",
}


@dataclass(frozen=True)
class Example:
    """where: file and line."""

    where: str
    text: str


def configurations(page: Path) -> Iterator[Example]:
    """YAML of the page that is a configuration of Modelward."""
    text = page.read_text()
    for found in FENCED.finditer(text):
        if found["info"].split(maxsplit=1)[:1] in (["yaml"], ["yml"]):
            indent = found["indent"]
            body = "\n".join(line.removeprefix(indent) for line in found["text"].splitlines())
            if not FOREIGN & set(read_document(body, "").values):
                yield Example(_where(page, text, found.start()), body)


def problems_of(example: Example) -> list[str]:
    """What is wrong with a configuration; it may be a whole one, or a model's own model.yaml."""
    try:
        layer = read_document(example.text, example.where)
        if set(layer.values) <= set(ModelSettings.model_fields) - set(Config.model_fields):
            layer = layer.under("models", "NAME")
        return [str(each) for each in cross_check(Config.model_validate(layer.values), layer)]
    except (ProblemsFound, ValueError) as error:
        return [str(error)]


def lacks_models(example: Example) -> bool:
    """Whether it says something of models and not where they are. What says nothing of them is added to a file."""
    given = read_document(example.text, example.where).values
    models = given.get("models")
    if not isinstance(models, dict) or "repository" in given or "upstreams" in given:
        return False
    return not any(isinstance(each, dict) and "upstreams" in each for each in models.values())


def command_lines(page: Path) -> Iterator[Example]:
    """Every `modelward COMMAND ...` of the page, up to the end of the command."""
    text = page.read_text()
    fenced = list(FENCED.finditer(text))
    outside = FENCED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    pieces = [(found.start("text"), found["text"].replace("\\\n", "  ")) for found in fenced]
    pieces += [(found.start(1), found[1]) for each in (INLINE, INDENTED) for found in each.finditer(outside)]
    for start, piece in pieces:
        for line in re.finditer(r"[^\n]+", piece):
            for found in COMMAND.finditer(line[0]):
                rest = END.split(line[0][found.end() :], maxsplit=1)[0]
                yield Example(_where(page, text, start + line.start() + found.start()), f"modelward {rest}")


def fault_of(command_line: str) -> str:
    """What the command does not have; empty where it has everything. Values are not looked at."""
    try:
        words = shlex.split(command_line)[1:]
    except ValueError:
        words = command_line.split()[1:]
    words = [word.rstrip(",;:.") for word in words]  # of a sentence
    if words[0] not in COMMANDS:
        return f"no command {words[0]}"
    parser = commands.parser_of(words[0])
    below = commands.subcommands(parser)
    if below and len(words) > 1 and words[1].islower() and not words[1].startswith("-"):
        if words[1] not in below:
            return f"{words[0]} has no {words[1]}"
        parser = below[words[1]]
    known: dict[str, Any] = parser._option_string_actions
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    return ", ".join(f"no option {flag}" for flag in flags if flag not in known)


def _where(page: Path, text: str, at: int) -> str:
    return f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, at) + 1}"
