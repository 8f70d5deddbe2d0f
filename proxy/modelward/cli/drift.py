"""`modelward drift`: what has changed in the inputs and outputs of models; the present taken as what is usual."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.drift_plot import bars, save
from modelward.cli.drift_report import render
from modelward.cli.output import console, print_json, print_problems
from modelward.cli.proposals import WAITS, add_glass, glass_of, is_waiting, tell_broken, tell_waiting
from modelward.cli.text import plain
from modelward.problem import Problem

TERMINAL = "terminal"
MOVED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    report = actions.add_parser("report", help="show what has changed, since when, through whom", description=(
        "Shows for each version that is watched whether its inputs and outputs are what they were: what has changed, "
        "by how much, since when, and through which identities. Ends with 1 where something has changed."
    ))  # fmt: skip
    report.add_argument("--model", metavar="MODEL", default="", help="only of this model (default: all)")
    report.add_argument(
        "--plot",
        metavar="FILE.png|terminal",
        help="also draw how what has changed was distributed before, and is now: into a picture, or here",
    )
    admin.add_arguments(report)
    accept = actions.add_parser("accept", help="take the present as what is usual, where it has changed", description=(
        "Takes what clients send and a model answers now as what is usual, where an alarm stands. The alarm ends, and "
        "later requests are compared with those since the change. The likeness to the training data goes on being "
        "compared with the profile."
    ))  # fmt: skip
    accept.add_argument("target", metavar="MODEL[/VERSION]", help="all versions of the model, or one")
    add_glass(accept)
    admin.add_arguments(accept)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, 1 where something has changed (report), nothing was accepted (accept), or something is wrong, 2
    where no server answers, 4 where it waits for approvals."""
    act = _accept if arguments.action == "accept" else _report
    return admin.run(arguments, lambda client: act(client, arguments))


def _accept(client: admin.Client, arguments: argparse.Namespace) -> int:
    model, _, version = arguments.target.partition("/")
    fields = {"model": model, "version": version, **glass_of(arguments)}
    answer: Any = client.call("AcceptDrift", admin.ANSWER_SECONDS, **fields)
    problems = problems_of(answer)
    if arguments.json:
        print_json(as_json(answer))
    if is_waiting(answer):
        return WAITS if arguments.json else tell_waiting(answer.proposal)
    if answer.HasField("proposal"):
        if not arguments.json:
            tell_broken(answer)
        return admin.DONE
    if problems and not arguments.json:
        print_problems(problems)
    for each in answer.accepted if not arguments.json else ():
        what = f"model {plain(each.model)} version {plain(each.version)}: the present is what is usual now"
        console().print(what, soft_wrap=True)
        if each.stays:
            still = f"still moved: {', '.join(map(plain, each.stays))}"
            how = ", which is compared with the profile: fit it again on captured rows, or widen training_tolerance"
            console().print(f"  {still}{how if 'training' in each.stays else ''}", soft_wrap=True)
    return admin.REFUSED if problems else admin.DONE


def _report(client: admin.Client, arguments: argparse.Namespace) -> int:
    answer: Any = client.call("Drift", admin.ANSWER_SECONDS, model=arguments.model)
    problems = problems_of(answer)
    told: list[Mapping[str, Any]] = [json.loads(report) for report in answer.reports]
    if arguments.json:
        print_json({"problems": [problem.as_json() for problem in problems], "versions": told})
    elif problems:
        print_problems(problems)
    else:
        _show(told)
    if problems:
        return admin.REFUSED
    if arguments.plot and (unplotted := _plot(told, arguments)):
        print_problems([unplotted])
        return admin.REFUSED
    return MOVED if any(each["state"] == "moved" for each in told) else admin.DONE


def _show(told: list[Mapping[str, Any]]) -> None:
    out = console()
    if not told:
        out.print("nothing is watched, or no request was observed yet; models.NAME.drift: {} turns it on")
    for each in told:
        out.print(render(each))


def _plot(told: list[Mapping[str, Any]], arguments: argparse.Namespace) -> Problem | None:
    if arguments.plot == TERMINAL:
        if not arguments.json:
            for each in told:
                console().print(bars(each))
        return None
    return save(told, Path(arguments.plot))
