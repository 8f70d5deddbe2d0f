"""`modelward review`: another operator has looked at what was done by breaking the glass."""

import argparse

from modelward.cli import admin
from modelward.cli.proposals import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "number", metavar="N", type=int, help="number of what was done, as modelward proposals lists it"
    )
    parser.add_argument("--reason", metavar="TEXT", required=True, help="what was found")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when it is reviewed, 1 where that is refused, 2 where no server answers."""
    fields = {"number": arguments.number, "reason": arguments.reason}
    return admin.run(
        arguments,
        lambda client: tell(client.call("Review", admin.ANSWER_SECONDS, **fields), as_document=arguments.json),
    )
