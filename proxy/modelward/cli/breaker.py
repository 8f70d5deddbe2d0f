"""`modelward breaker`: circuit breakers of a running server that operators hold open or closed for a time."""

import argparse
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.output import console, print_json, print_problems, print_table, time_of
from modelward.cli.proposals import WAITS, add_glass, glass_of, is_waiting, tell_broken, tell_waiting
from modelward.cli.text import plain
from modelward.config.units import SECOND, UnitError, parse_duration
from modelward.problem import WrongUsage

COLUMNS = ("model", "upstream", "breaker", "until", "by", "why")
ACTIONS = {
    "open": ("keep requests from an upstream for a time", (
        "Sends no new request of the model to an upstream, or to none of them, until the time is over. A restart of "
        "the server ends it."
    )),
    "close": ("use an upstream for a time whatever its breaker says", (
        "Sends requests of the model to an upstream, or to all of them, whatever circuit breaker and health checks "
        "say, until the time is over. A restart ends it, except in a fleet."
    )),
    "auto": ("end an override before its time", "Leaves it to the circuit breaker again whether an upstream is used."),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (summary, description) in ACTIONS.items():
        below = actions.add_parser(name, help=summary, description=description)
        below.add_argument("model", metavar="MODEL", help="name of the model")
        below.add_argument(
            "endpoint", metavar="ENDPOINT", nargs="?", default="", help="address as configured (default: all of them)"
        )
        if name != "auto":
            below.add_argument(
                "--for", dest="span", metavar="SPAN", default="1h", help="how long: 30m, 2h (default: 1h)"
            )
        add_glass(below)
        admin.add_arguments(below)
    listing = actions.add_parser(
        "list", help="list the breaker overrides", description="Lists all breakers that operators hold open or closed."
    )
    admin.add_arguments(listing)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when all workers obey, 1 if refused, 2 where no server answers, 4 where it waits for approvals."""
    if arguments.action == "list":
        return admin.run(arguments, lambda client: _list(client, json=arguments.json))
    fields = {name: getattr(arguments, name) for name in ("model", "endpoint", "action")}
    if arguments.action != "auto":
        try:
            fields["seconds"] = parse_duration(arguments.span) / SECOND
        except UnitError as error:
            raise WrongUsage(f"--for: {error}. {error.how}") from error
    fields |= glass_of(arguments)
    return admin.run(arguments, lambda client: _override(client, json=arguments.json, **fields))


def _override(client: admin.Client, *, json: bool, **fields: Any) -> int:
    answer: Any = client.call("OverrideBreaker", admin.ANSWER_SECONDS, **fields)
    if json:
        print_json(as_json(answer))
    elif answer.problems:
        print_problems(problems_of(answer))
    elif is_waiting(answer):
        return tell_waiting(answer.proposal)
    else:
        for each in answer.overrides:
            told = f"{each.model}, {_upstream(each)}: held {each.state} until {time_of(each.until)}"
            console().print(plain(told), soft_wrap=True)
        if not answer.overrides:
            console().print(plain(f"{fields['model']}: no breaker override any more"), soft_wrap=True)
        tell_broken(answer)
    if answer.problems:
        return admin.REFUSED
    return WAITS if is_waiting(answer) else admin.DONE


def _list(client: admin.Client, *, json: bool) -> int:
    status: Any = client.call("Status", admin.ANSWER_SECONDS)
    if json:
        print_json([as_json(each) for each in status.breaker_overrides])
    elif status.breaker_overrides:
        print_overrides(status)
    else:
        console().print("no breaker overrides", soft_wrap=True)
    return admin.DONE


def print_overrides(status: Any) -> None:
    """Those of an answer about the status."""
    print_table("breaker overrides", COLUMNS, [
        (each.model, _upstream(each), each.state, time_of(each.until), each.by, each.reason)
        for each in status.breaker_overrides
    ])  # fmt: skip


def _upstream(override: Any) -> str:
    return override.endpoint or "all upstreams"
