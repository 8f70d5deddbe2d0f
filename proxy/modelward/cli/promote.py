"""`modelward promote`: gives a version of a model its first share of the requests, or its next."""

import argparse
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.output import console, print_json, print_notes, print_problems
from modelward.cli.proposals import WAITS, add_glass, glass_of, is_waiting, tell_broken, tell_waiting
from modelward.cli.text import plain
from modelward.config.promotion import check_steps
from modelward.models.facts import GUARDS
from modelward.problem import Problem, ProblemsFound

HOW = "Write whole per cent that grow, the last of them 100: --steps 1,10,50,100"
UNSAVED = Problem(
    "done, but not durable: a restart of the server would undo it",
    "state",
    "the server cannot write its state",
    "Let it write the folder; it tries again every two seconds, and its log says when that works",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    parser.add_argument("version", metavar="VERSION", help="a version that the server has loaded")
    parser.add_argument(
        "--steps", metavar="1,10,50,100", help="shares in per cent; for a running promotion, the steps that are left"
    )
    parser.add_argument("--auto", action="store_true", help="take each further step by itself when every bound is kept")
    parser.add_argument(
        "--force", action="store_true", help="take this step although not every bound is decided; needs --reason"
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="reason, which status shows")
    add_glass(parser, reason=False)
    for guard in GUARDS:
        parser.add_argument(
            f"--without-{guard}", action="store_true", help=f"promote although only the version before has a {guard}"
        )
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when every worker has the new shares, 1 where it is refused, 2 where no server answers, 4 where it
    waits for approvals.
    """
    if arguments.force and not arguments.reason:
        how = "Say why it may be done: --force --reason TEXT"
        raise ProblemsFound([Problem("--force needs --reason", "command line", how=how)])
    wanted = {"model": arguments.model, "version": arguments.version, "steps": _steps(arguments.steps)}
    wanted |= {"auto": arguments.auto, "force": arguments.reason if arguments.force else "", **glass_of(arguments)}
    wanted["without"] = [guard for guard in GUARDS if getattr(arguments, f"without_{guard}")]
    return admin.run(arguments, lambda client: change(client, "Promote", json=arguments.json, **wanted))


def _steps(text: str | None) -> list[int]:
    if text is None:
        return []
    try:
        steps = [int(step) for step in text.split(",")]
        check_steps(tuple(steps))
    except ValueError:  # a UnitError is one
        raise ProblemsFound([Problem(f"{text!r} are no steps", "--steps", how=HOW)]) from None
    return steps


def change(client: admin.Client, method: str, *, json: bool, **fields: Any) -> int:
    """Asks for it, and tells what came of it: UNSAVED where it was done and a restart would undo it."""
    answer: Any = client.call(method, admin.ANSWER_SECONDS, **fields)
    problems = problems_of(answer)
    if json:
        print_json(as_json(answer))
    elif problems:
        print_problems(problems)
    elif is_waiting(answer):
        return tell_waiting(answer.proposal)
    else:
        promotion, out = answer.promotion, console()
        out.print(
            f"model {plain(promotion.model)} version {plain(promotion.version)}: {promotion.phase}, "
            f"{promotion.percent} % of the requests",
            soft_wrap=True,
        )
        for line in progress(promotion):
            out.print(f"  {plain(line)}", soft_wrap=True)
        print_notes(Problem(each.what, each.where, each.why, each.how) for each in answer.warnings)
        tell_broken(answer, asked=fields["break_glass"])
        if answer.unsaved:
            print_notes([UNSAVED])
    if problems or is_waiting(answer):
        return admin.REFUSED if problems else WAITS
    return admin.UNSAVED if answer.unsaved else admin.DONE


def progress(promotion: Any) -> list[str]:
    """Of a promotion that is under way: the requests of its step, and what its bounds miss."""
    if promotion.phase != "stepping":
        return []
    lines = []
    if promotion.all_requests:
        who = f", {promotion.callers} callers" if promotion.callers and promotion.by == "caller" else ""
        lines.append(f"{promotion.requests} of {promotion.all_requests} requests in this step{who}")
    for each in promotion.bounds:
        if each.decision != "kept":
            counted = f"{each.answers} of {each.needed} answers" if each.needed else ""
            lines.append(f"{each.bound} {each.decision}: {', '.join(filter(None, (counted, each.words)))}")
    if promotion.judge:
        judged = f"{promotion.judge} judges, by what all servers of the fleet have counted (its modelward status)"
        lines.insert(0, f"{judged}; this server alone:" if lines else judged)
    return lines
