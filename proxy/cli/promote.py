"""`modelward promote`: gives a version of a model its first share of the requests, or its next."""

import argparse
from typing import Any

from proxy.cli import admin
from proxy.cli.admin import as_json, problems_of
from proxy.cli.output import console, plain, print_json, print_problems
from proxy.config.promotion import HOW_STEPS
from proxy.problem import Problem, ProblemsFound


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", metavar="VERSION", help="of those that the server has")
    parser.add_argument("--steps", metavar="1,10,50,100", help="shares in per cent, one each time it is asked for")
    parser.add_argument("--auto", action="store_true", help="go on by itself while it is no worse")
    parser.add_argument("--force", action="store_true", help="whatever the verdict on its shadow; needs --reason")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why it is forced; it is kept")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 when every worker shares requests so, 1 with why not, 2 where there is no server."""
    if arguments.force != bool(arguments.reason):
        how = "Say why it may be done against the verdict: --force --reason TEXT"
        raise ProblemsFound([Problem("--force and --reason belong together", "command line", how=how)])
    wanted = {"model": arguments.model, "version": arguments.version, "steps": _steps(arguments.steps)}
    wanted |= {"auto": arguments.auto, "force": arguments.reason}
    return admin.run(arguments, lambda client: change(client, "Promote", json=arguments.json, **wanted))


def _steps(text: str | None) -> list[int]:
    try:
        return [int(step) for step in text.split(",")] if text is not None else []
    except ValueError:
        raise ProblemsFound([Problem(f"{text!r} are no steps", "--steps", how=HOW_STEPS)]) from None


def change(client: admin.Client, method: str, *, json: bool, **fields: Any) -> int:
    """Asks for it, and tells what came of it."""
    answer: Any = client.call(method, admin.ANSWER_SECONDS, **fields)
    problems = problems_of(answer)
    if json:
        print_json(as_json(answer))
    elif problems:
        print_problems(problems)
    else:
        promotion = answer.promotion
        console().print(
            f"model {plain(promotion.model)} version {plain(promotion.version)}: {promotion.phase}, "
            f"{promotion.percent} % of the requests",
            soft_wrap=True,
        )
    return admin.REFUSED if problems else admin.DONE
