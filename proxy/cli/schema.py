"""`modelward schema`: the JSON schema of the configuration, for editors that complete and check as one types."""

import argparse
from typing import Any

from proxy.cli.output import print_json
from proxy.config.schema import Config

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
    return {"$schema": DIALECT, **Config.model_json_schema(mode="serialization")}


def run(arguments: argparse.Namespace) -> int:
    print_json(schema())
    return 0
