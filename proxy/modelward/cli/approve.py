"""`modelward approve`: agrees to what another operator has proposed. The last approval that is needed executes it."""

import argparse

from modelward.cli import admin
from modelward.cli.output import console
from modelward.cli.proposals import tell, tell_done


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", metavar="N", type=int, help="number of the proposal; modelward proposals N shows it")
    parser.add_argument("--reason", metavar="TEXT", default="", help="reason, which the audit trail keeps")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when it is approved, and executed where no further approval is needed; 1 where it is refused or its
    execution failed, 2 where no server answers.
    """

    def act(client: admin.Client) -> int:
        with console(error=True).status("approving"):
            answer = client.call("Approve", number=arguments.number, reason=arguments.reason)
        code = tell(answer, as_document=arguments.json, executes=True)
        if not arguments.json:
            tell_done(answer.proposal)
        return code

    return admin.run(arguments, act)
