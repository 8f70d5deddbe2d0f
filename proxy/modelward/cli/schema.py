"""`modelward schema`: the JSON schema of the configuration, for editors that complete and check as one types."""

import argparse
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from modelward.cli.output import print_json
from modelward.config.schema import Config
from modelward.config.section import descriptions, sections
from modelward.config.shorthands import WithShorthands

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Editors with the YAML language server: write # yaml-language-server: $schema=FILE as the first line."
    )


def schema(generator: type[GenerateJsonSchema] = GenerateJsonSchema) -> dict[str, Any]:
    """The schema as pydantic derives it, with the dialect that it follows. generator: WithShorthands for what checks
    files, which may hold those.

    Of the form in which a configuration is written out: that alone shows defaults as 5s and 16MiB, and both forms agree
    in everything else.
    """
    found = {"$schema": DIALECT, **Config.model_json_schema(mode="serialization", schema_generator=generator)}
    for node in found["$defs"].values():
        if "anyOf" in node:  # what is said of the section holds for that alternative alone
            node["anyOf"][0].update({key: node.pop(key) for key in [*node] if key != "anyOf"})
    for section in sections():
        shown = found if section is Config else found["$defs"].get(section.__name__, {"properties": {}})
        keys = properties(shown)
        for name, text in descriptions(section).items():
            if name in keys:
                keys[name]["description"] = text
    return found


def properties(section: dict[str, Any]) -> dict[str, Any]:
    """The keys of a section, which something else may stand for."""
    found: dict[str, Any] = section["anyOf"][0]["properties"] if "anyOf" in section else section["properties"]
    return found


def run(arguments: argparse.Namespace) -> int:
    print_json(schema(WithShorthands))
    return 0
