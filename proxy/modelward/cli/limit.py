"""`modelward limit`: limits of a running server that hold for a time, in place of the configured ones."""

import argparse
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.output import console, print_json, print_problems, print_table, time_of
from modelward.cli.text import plain
from modelward.config.units import SECOND, UnitError, parse_duration
from modelward.problem import WrongUsage

COLUMNS = ("of", "name", "limit", "until", "by", "why")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    setting = actions.add_parser("set", help="limit a model or an identity for a time", description=(
        "Limits a model or an identity for a time, whatever the configuration says. A restart ends it, except in a "
        "fleet."
    ))  # fmt: skip
    _add_subject(setting)
    setting.add_argument("--rate", metavar="RATE", default="", help="requests: 100/s, 6/m, 10/h")
    setting.add_argument("--time", metavar="TIME", default="", help="in place of --rate, backend time: 250ms/s")
    setting.add_argument("--burst", metavar="BURST", default="", help="what may come at once (default: of 0.1 s)")
    setting.add_argument("--for", dest="span", metavar="SPAN", default="1h", help="how long: 30m, 2h (default: 1h)")
    setting.add_argument("--reason", metavar="TEXT", default="", help="reason, which status shows")
    admin.add_arguments(setting)
    unsetting = actions.add_parser("unset", help="go back to the configured limit", description=(
        "Ends a temporary limit of a model or an identity before its time."
    ))  # fmt: skip
    _add_subject(unsetting)
    admin.add_arguments(unsetting)
    listing = actions.add_parser("list", help="list the temporary limits", description="Lists all temporary limits.")
    admin.add_arguments(listing)


def _add_subject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=("model", "identity"), help="whose limit it is")
    parser.add_argument("name", metavar="NAME", help="of the model or the identity")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when all workers hold the limit, 1 if refused, 2 where no server answers."""
    if arguments.action == "list":
        return admin.run(arguments, lambda client: _list(client, json=arguments.json))
    fields = {"kind": arguments.kind, "name": arguments.name}
    if arguments.action == "unset":
        return admin.run(arguments, lambda client: _change(client, "UnsetLimit", json=arguments.json, **fields))
    try:
        fields |= {"seconds": parse_duration(arguments.span) / SECOND}
    except UnitError as error:
        raise WrongUsage(f"--for: {error}. {error.how}") from error
    fields |= {name: getattr(arguments, name) for name in ("rate", "time", "burst", "reason")}
    return admin.run(arguments, lambda client: _change(client, "SetLimit", json=arguments.json, **fields))


def _change(client: admin.Client, method: str, *, json: bool, **fields: Any) -> int:
    answer: Any = client.call(method, admin.ANSWER_SECONDS, **fields)
    if json:
        print_json(as_json(answer))
    elif answer.problems:
        print_problems(problems_of(answer))
    else:
        told = f"{fields['kind']} {fields['name']} has its configured limit again"
        for each in answer.limits:
            told = f"{each.kind} {each.name}: {each.limit} until {time_of(each.until)}"
        console().print(plain(told), soft_wrap=True)
    return admin.REFUSED if answer.problems else admin.DONE


def _list(client: admin.Client, *, json: bool) -> int:
    status: Any = client.call("Status", admin.ANSWER_SECONDS)
    if json:
        print_json([as_json(each) for each in status.temporary_limits])
    elif status.temporary_limits:
        print_limits(status)
    else:
        console().print("no temporary limits", soft_wrap=True)
    return admin.DONE


def print_limits(status: Any) -> None:
    """Those of an answer about the status."""
    print_table("temporary limits", COLUMNS, [
        (each.kind, each.name, each.limit, time_of(each.until), each.by, each.reason)
        for each in status.temporary_limits
    ])  # fmt: skip
