"""`modelward shadow`: verdicts on a model's shadows, and requests on which they disagreed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from modelward.cli import admin, shadow_replay, shadow_samples, shadow_show
from modelward.cli.admin import problems_of
from modelward.cli.output import console, print_json, print_problems
from modelward.cli.shadow_report import render
from modelward.problem import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    report = actions.add_parser("report", help="show the verdicts and the evidence for them", description=(
        "Shows for each shadow whether it is better, equivalent or worse than the model, or how many pairs are missing."
    ))  # fmt: skip
    report.add_argument("model", metavar="MODEL", help="name of the model")
    report.add_argument(
        "shadow", metavar="SHADOW", nargs="?", help="version or first upstream of the shadow (default: all)"
    )
    admin.add_arguments(report)
    show = actions.add_parser("show", help="show requests on which a shadow disagreed", description=(
        "Lists requests on which shadows disagreed, or shows one with both answers. Reads the server's folder `state`."
    ))  # fmt: skip
    shadow_samples.add_arguments(show)
    show.add_argument("sample", metavar="SAMPLE", nargs="?", help="name of one request in the list")
    replay = actions.add_parser("replay", help="send such requests to a server again", description=(
        "Sends requests on which shadows disagreed to a server, and says whether the answers still disagree."
    ))  # fmt: skip
    shadow_samples.add_arguments(replay)
    shadow_replay.add_arguments(replay)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, 1 for an unknown shadow or where a replayed request disagrees, 2 where no server answers."""
    if arguments.action == "show":
        return shadow_show.show(arguments)
    if arguments.action == "replay":
        return shadow_replay.replay(arguments)
    return admin.run(arguments, lambda client: _report(client, arguments))


def _report(client: admin.Client, arguments: argparse.Namespace) -> int:
    answer: Any = client.call("Shadows", admin.ANSWER_SECONDS, model=arguments.model)
    problems = problems_of(answer)
    told: list[Mapping[str, Any]] = [json.loads(report) for report in answer.reports]
    if arguments.shadow is not None:
        told = [each for each in told if each["shadow"] == arguments.shadow]
    if not told and not problems:
        what = "no worker has counted anything of it yet" if arguments.shadow is None else "there is no such shadow"
        where = " ".join(["model", arguments.model, *(["shadow", arguments.shadow] if arguments.shadow else [])])
        problems = [Problem(what, where, how="Look at the server's log, and at modelward status")]
    if arguments.json:
        print_json({"problems": [problem.as_json() for problem in problems], "shadows": told})
    elif problems:
        print_problems(problems)
    else:
        out = console()
        for each in told:
            out.print(render(each))
    return admin.REFUSED if problems else admin.DONE
