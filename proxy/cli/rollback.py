"""`modelward rollback`: takes the promotion of a model back, at once."""

import argparse

from proxy.cli import admin
from proxy.cli.promote import change


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 when no worker sends that version any requests of its share, 1 with why not, 2 where there is no server."""
    return admin.run(arguments, lambda client: change(client, "Rollback", json=arguments.json, model=arguments.model))
