"""`modelward withdraw`: ends one's own proposal without executing it."""

import argparse

from modelward.cli import admin
from modelward.cli.proposals import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", metavar="N", type=int, help="number of the proposal")
    parser.add_argument("--reason", metavar="TEXT", required=True, help="reason, which its approvers can see")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when it is withdrawn, 1 where that is refused, 2 where no server answers."""
    fields = {"number": arguments.number, "reason": arguments.reason}
    return admin.run(
        arguments,
        lambda client: tell(client.call("Withdraw", admin.ANSWER_SECONDS, **fields), as_document=arguments.json),
    )
