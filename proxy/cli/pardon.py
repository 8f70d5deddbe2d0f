"""`modelward pardon`: lets a version run again with inputs that workers died of."""

import argparse
from typing import Any

from proxy.cli import admin
from proxy.cli.admin import as_json
from proxy.cli.output import console, plain, print_json, print_problems
from proxy.problem import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", metavar="VERSION", nargs="?", default="", help="default: all of the model")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 when workers were told, 1 where nothing was contained, 2 where there is no server."""
    return admin.run(arguments, lambda client: _pardon(client, arguments))


def _pardon(client: admin.Client, arguments: argparse.Namespace) -> int:
    answer: Any = client.call("Pardon", admin.ANSWER_SECONDS, model=arguments.model, version=arguments.version)
    if arguments.json:
        print_json(as_json(answer))
    elif not answer.pardoned:
        where = f"model {arguments.model}" + (f" version {arguments.version}" if arguments.version else "")
        print_problems([Problem("no worker has died of it", where, how="`modelward status` shows what is contained")])
    for each in answer.pardoned if not arguments.json else ():
        console().print(f"model {plain(each.model)} version {plain(each.version)} is run again", soft_wrap=True)
    return admin.DONE if answer.pardoned else admin.REFUSED
