"""`modelward rollback`: takes the promotion of a model back, at once."""

import argparse

from modelward.cli import admin
from modelward.cli.promote import change
from modelward.cli.proposals import add_glass, glass_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    add_glass(parser)
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when no worker of this server sends the version its share any more, 1 if refused, 2 where no server
    answers, 3 where it is done but the server cannot save it, so that a restart would undo it, 4 where it waits for
    approvals.
    """
    fields = {"model": arguments.model, **glass_of(arguments)}
    return admin.run(arguments, lambda client: change(client, "Rollback", json=arguments.json, **fields))
