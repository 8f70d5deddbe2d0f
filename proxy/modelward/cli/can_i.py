"""`modelward can-i VERB [MODEL]`: whether you may do something to a running server, and why or why not."""

import argparse
from collections.abc import Sequence
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json
from modelward.cli.output import console, print_json, print_table
from modelward.cli.text import plain
from modelward.config.operators import VERBS
from modelward.operators.verbs import MEANING
from modelward.plural import counted
from modelward.problem import WrongUsage
from modelward.suggest import suggestion

COLUMNS = ("verb", "what it is", "may you", "roles that may")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", metavar="VERB", nargs="?", help="what is to be done; --list prints the verbs")
    parser.add_argument("model", metavar="MODEL", nargs="?", default="", help="name of the model it is done to")
    parser.add_argument("--list", action="store_true", help="print all verbs, and which of them you may")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 yes, 1 no, 2 where no server answers."""
    if arguments.list == (arguments.verb is not None):
        raise WrongUsage("give a verb, or --list")
    if arguments.verb is not None and arguments.verb not in VERBS:
        how = suggestion(arguments.verb, VERBS) or f"Verbs are {', '.join(VERBS)}"
        raise WrongUsage(f"there is no verb {arguments.verb!r}. {how}")
    return admin.run(arguments, lambda client: _ask(client, arguments))


def _ask(client: admin.Client, arguments: argparse.Namespace) -> int:
    found: Any = client.call("CanI", admin.ANSWER_SECONDS, verb=arguments.verb or "", model=arguments.model)
    if arguments.json:
        print_json(as_json(found))
    elif arguments.list:
        _print_table(found.rights)
    else:
        (right,) = found.rights
        needed = "" if right.allowed or not right.roles else f"; it takes {' or '.join(right.roles)}"
        console().print(plain(f"{_answer(right)}: {right.why}{needed}"), soft_wrap=True)
    if not arguments.json:
        admin.tell_restart(found.needs_restart)
    return admin.DONE if arguments.list or all(each.allowed for each in found.rights) else admin.REFUSED


def _print_table(rights: Sequence[Any]) -> None:
    print_table("verbs", COLUMNS, [
        (each.verb, MEANING[each.verb], _answer(each), ", ".join(each.roles)) for each in rights
    ])  # fmt: skip


def _answer(right: Any) -> str:
    if not right.allowed:
        return "no"
    models = ", ".join(right.models)
    which = "yes" if models in ("", "*") else f"yes, for {models}"
    return f"{which}, with {counted(right.approvals, 'approval')}" if right.approvals else which
