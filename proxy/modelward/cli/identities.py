"""`modelward identities`: who looks like a thief or an attacker to a running server, and what operators decide."""

import argparse
from typing import Any, get_args

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.learning import print_learning
from modelward.cli.output import console, print_json, print_notes, print_problems, print_table, time_of
from modelward.cli.text import plain
from modelward.config.detection import Step
from modelward.config.units import SECOND, UnitError, parse_duration
from modelward.problem import Problem, WrongUsage

COLUMNS = ("identity", "model", "step", "gets", "evidence", "since", "rows today", "rows ever")
HELD_COLUMNS = ("identity", "model", "step", "until", "by", "why")
STEPS = get_args(Step)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="MODEL", default="", help="of this model alone (default: all)")
    parser.add_argument("--most", metavar="N", type=int, default=50, help="identities that are shown (default: 50)")
    parser.add_argument("--least", choices=STEPS, default=STEPS[0], help="step from which on (default: tag)")
    admin.add_arguments(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    restricting = actions.add_parser("restrict", help="hold an identity at a step for a time", description=(
        "Holds an identity at a step of detection for a time, whatever its evidence says. A restart of the server ends "
        "it."
    ))  # fmt: skip
    _add_subject(restricting)
    restricting.add_argument("--step", choices=STEPS, required=True, help="what it gets")
    restricting.add_argument("--for", dest="span", metavar="SPAN", default="1h", help="how long: 30m, 2h (default: 1h)")
    admin.add_arguments(restricting)
    pardoning = actions.add_parser("pardon", help="forget the evidence against an identity", description=(
        "Forgets the evidence against an identity, its blocks and what it has used of today's budget, and ends "
        "restrictions of it before their time."
    ))  # fmt: skip
    _add_subject(pardoning, optional=True)
    pardoning.add_argument("--all", action="store_true", help="all identities; what operators hold goes on")
    admin.add_arguments(pardoning)
    for below in (restricting, pardoning):
        for action in below._actions:  # what stands before the action counts too
            if action.dest in vars(parser.parse_args([])):
                action.default = argparse.SUPPRESS


def _add_subject(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    help_ = "whole name, or the address of callers without an identity"
    parser.add_argument("name", metavar="NAME", nargs="?" if optional else None, default="", help=help_)
    parser.add_argument("--model", metavar="MODEL", default="", help="for this model alone (default: all)")
    parser.add_argument("--reason", metavar="TEXT", default="", help="reason, which the audit trail keeps")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when it is done, 1 if refused, 2 where no server answers."""
    if arguments.action is None:
        if not 1 <= arguments.most <= 1000:
            raise WrongUsage("--most: give a number from 1 to 1000")
        fields: dict[str, Any] = {name: getattr(arguments, name) for name in ("model", "most", "least")}
        return admin.run(arguments, lambda client: _list(client, json=arguments.json, **fields))
    fields = {name: getattr(arguments, name) for name in ("name", "model", "reason")}
    if arguments.action == "pardon":
        if bool(arguments.name) == arguments.all:
            raise WrongUsage("pardon: give the NAME of an identity, or --all")
        fields["all"] = arguments.all
        return admin.run(arguments, lambda client: _pardon(client, json=arguments.json, **fields))
    try:
        fields |= {"step": arguments.step, "seconds": parse_duration(arguments.span) / SECOND}
    except UnitError as error:
        raise WrongUsage(f"--for: {error}. {error.how}") from error
    return admin.run(arguments, lambda client: _restrict(client, json=arguments.json, **fields))


def _restrict(client: admin.Client, *, json: bool, **fields: Any) -> int:
    answer: Any = client.call("RestrictIdentity", admin.ANSWER_SECONDS, **fields)
    if json:
        print_json(as_json(answer))
    elif answer.problems:
        print_problems(problems_of(answer))
    else:
        for each in answer.restrictions:
            told = f"{each.name}, {_model(each)}: held at {each.step} until {time_of(each.until)}"
            console().print(plain(told), soft_wrap=True)
        print_notes(Problem(each.what, each.where, each.why, each.how) for each in answer.notes)
    return admin.REFUSED if answer.problems else admin.DONE


def _pardon(client: admin.Client, *, json: bool, **fields: Any) -> int:
    answer: Any = client.call("PardonIdentity", admin.ANSWER_SECONDS, **fields)
    if json:
        print_json(as_json(answer))
    elif answer.problems:
        print_problems(problems_of(answer))
    else:
        told = "pardoned: evidence, blocks and what it has used of today's budget are forgotten"
        if fields["all"]:
            told = f"{answer.forgotten} pardoned; what operators hold goes on"
        console().print(plain(f"{fields['name'] or 'all identities'}: {told}"), soft_wrap=True)
    return admin.REFUSED if answer.problems else admin.DONE


def _list(client: admin.Client, *, json: bool, **fields: Any) -> int:
    answer: Any = client.call("Suspects", admin.ANSWER_SECONDS, **fields)
    if json:
        print_json(as_json(answer))
        return admin.REFUSED if answer.problems else admin.DONE
    if answer.problems:
        print_problems(problems_of(answer))
        return admin.REFUSED
    if not answer.watched:
        console().print("no model watches identities: set models.NAME.detection", soft_wrap=True)
        if answer.restrictions:
            told = "what operators hold is not obeyed now, and will be where a model watches identities again"
            console().print(told, soft_wrap=True)
    if answer.suspects:
        print_table("suspected identities", COLUMNS, [_row(each) for each in answer.suspects])
    if answer.restrictions:
        print_table("held by operators", HELD_COLUMNS, [
            (each.name, _model(each), each.step, time_of(each.until), each.by, each.reason)
            for each in answer.restrictions
        ])  # fmt: skip
    if answer.watched and not answer.suspects and not answer.restrictions:
        console().print("no identity is suspected", soft_wrap=True)
    print_learning(answer.learning)
    if answer.steps:
        parts = [f"{answer.steps[step]} at {step}" for step in STEPS if answer.steps[step]]
        told = f"{sum(answer.steps.values())} remembered{': ' if parts else ''}{', '.join(parts)}"
        console().print(plain(told), soft_wrap=True)
    return admin.DONE


def _row(each: Any) -> tuple[str, ...]:
    evidence = sorted(each.evidence.items(), key=lambda pair: -pair[1])
    words = ", ".join(f"{signal} {nats:.1f}" for signal, nats in evidence if nats >= 0.05)
    budget = f" of {each.budget}" if each.budget else ""
    step = f"{each.step}, held" if each.held else each.step
    timed = each.gets == "block" and each.blocked_seconds and not each.held
    gets = f"{each.gets} for {each.blocked_seconds:.0f} s" if timed else each.gets
    if each.budget and each.today >= each.budget:
        words = ", ".join(filter(None, (words, "budget")))
    return (
        f"{each.kind} {each.name}".strip() or "not known",
        each.model or "not known",
        step,
        gets,
        words or "none",
        f"{_span(each.since_seconds)} ago",
        f"{each.today:.0f}{budget}",
        f"{each.distinct:.0f}",
    )


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _model(restriction: Any) -> str:
    return restriction.model or "all models"
