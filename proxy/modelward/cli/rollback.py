"""`modelward rollback`: takes the promotion of a model back, at once."""

import argparse

from modelward.cli import admin
from modelward.cli.promote import change


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    parser.add_argument("--reason", metavar="TEXT", default="", help="reason, which status shows")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when no worker sends the version its share any more, 1 if refused, 2 where no server answers,
    3 where it is done but the server cannot save it, so that a restart would undo it.
    """
    fields = {"model": arguments.model, "reason": arguments.reason}
    return admin.run(arguments, lambda client: change(client, "Rollback", json=arguments.json, **fields))
