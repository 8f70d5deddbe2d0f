"""`modelward schema`: the JSON schema of the configuration, for editors that complete and check as one types."""

import argparse
from typing import Any

from modelward.cli.output import print_json
from modelward.config.schema import Config
from modelward.config.section import descriptions, sections

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Editors with the YAML language server: write # yaml-language-server: $schema=FILE as the first line."
    )


def schema() -> dict[str, Any]:
    """The schema as pydantic derives it, with the dialect that it follows.

    Of the form in which a configuration is written out: that alone shows defaults as 5s and 16MiB, and both forms agree
    in everything else.
    """
    found = {"$schema": DIALECT, **Config.model_json_schema(mode="serialization")}
    for section in sections():
        shown = found if section is Config else found["$defs"].get(section.__name__, {"properties": {}})
        for name, text in descriptions(section).items():
            if name in shown["properties"]:
                shown["properties"][name]["description"] = text
    return found


def run(arguments: argparse.Namespace) -> int:
    print_json(schema())
    return 0
