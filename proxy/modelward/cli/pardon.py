"""`modelward pardon`: lets a version run again with inputs that workers died of."""

import argparse
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.output import console, print_json, print_problems
from modelward.cli.proposals import WAITS, add_glass, glass_of, is_waiting, tell_broken, tell_waiting
from modelward.cli.text import plain
from modelward.problem import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    parser.add_argument(
        "version", metavar="VERSION", nargs="?", default="", help="one version (default: all of the model)"
    )
    add_glass(parser)
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when the workers know, 1 where there was nothing to pardon, 2 where no server answers, 4 where it
    waits for approvals.
    """
    return admin.run(arguments, lambda client: _pardon(client, arguments))


def _pardon(client: admin.Client, arguments: argparse.Namespace) -> int:
    fields = {"model": arguments.model, "version": arguments.version, **glass_of(arguments)}
    answer: Any = client.call("Pardon", admin.ANSWER_SECONDS, **fields)
    if is_waiting(answer):
        if not arguments.json:
            return tell_waiting(answer.proposal)
        print_json(as_json(answer))
        return WAITS
    if answer.HasField("proposal"):
        print_json(as_json(answer)) if arguments.json else tell_broken(answer)
        return admin.DONE
    if arguments.json:
        print_json(as_json(answer))
    elif problems := problems_of(answer):
        print_problems(problems)
    elif not answer.pardoned:
        where = f"model {arguments.model}" + (f" version {arguments.version}" if arguments.version else "")
        known = _known(client, arguments.model, arguments.version)
        what = (
            "no worker has died of it" if known else f"there is no such {'version' if arguments.version else 'model'}"
        )
        how = f"`modelward status` shows what is {'contained' if known else 'served'}"
        print_problems([Problem(what, where, how=how)])
    for each in answer.pardoned if not arguments.json else ():
        console().print(f"model {plain(each.model)} version {plain(each.version)} is run again", soft_wrap=True)
    return admin.DONE if answer.pardoned else admin.REFUSED


def _known(client: admin.Client, model: str, version: str) -> bool:
    """Whether the server has it, be it refused."""
    status: Any = client.call("Status", admin.ANSWER_SECONDS)
    there = {(each.name, each.version) for each in (*status.models, *status.refused)}
    return any(name == model and version in ("", number) for name, number in there)
