"""`modelward drift report`: what has changed in the inputs and outputs of models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import problems_of
from modelward.cli.drift_plot import bars, save
from modelward.cli.drift_report import render
from modelward.cli.output import console, print_json, print_problems
from modelward.problem import Problem

TERMINAL = "terminal"
MOVED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    report = actions.add_parser("report", help="show what has changed, since when, and through whom", description=(
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


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, 1 where something has changed or is wrong, 2 where no server answers."""
    return admin.run(arguments, lambda client: _report(client, arguments))


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
