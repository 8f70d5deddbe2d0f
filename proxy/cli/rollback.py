"""`modelward rollback`: takes the promotion of a model back, at once."""

import argparse

from proxy.cli import admin
from proxy.cli.promote import change


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why; it is kept")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 when no worker sends that version any requests of its share, 1 with why not, 2 where there is no server.

    3 where it is done, and the server cannot write it to its state.
    """
    fields = {"model": arguments.model, "reason": arguments.reason}
    return admin.run(arguments, lambda client: change(client, "Rollback", json=arguments.json, **fields))
