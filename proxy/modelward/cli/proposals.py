"""`modelward proposals`: what waits for an approval or a review, what ended lately, and one proposal with all of it."""

import argparse
import json
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.output import console, print_json, print_problems, print_table, time_of
from modelward.cli.text import plain
from modelward.problem import Problem, ProblemsFound

COLUMNS = ("proposal", "state", "what", "digest", "by", "at", "approvals", "why")
SHORT_DIGEST = len("sha256:") + 12
WAITS = 4
"""Exit code of a command that became a proposal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", metavar="N", type=int, nargs="?", help="one proposal, with verdict and diff")
    parser.add_argument("--all", action="store_true", help="list those that ended too")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 where the server answers, 1 where there is no such proposal, 2 where no server answers."""
    return admin.run(arguments, lambda client: _show(client, arguments))


def _show(client: admin.Client, arguments: argparse.Namespace) -> int:
    number = arguments.number or 0
    answer: Any = client.call("Proposals", admin.ANSWER_SECONDS, number=number, ended=arguments.all)
    problems = problems_of(answer)
    if arguments.json:
        print_json(as_json(answer))
    elif problems:
        print_problems(problems)
    elif number:
        for each in answer.proposals:
            print_proposal(each)
    elif answer.proposals:
        print_table("proposals", COLUMNS, map(_row, answer.proposals))
    else:
        console().print("no proposal waits" if not arguments.all else "there are no proposals")
    return admin.REFUSED if problems else admin.DONE


def _row(proposal: Any) -> tuple[object, ...]:
    return (
        proposal.number,
        state_of(proposal),
        what_of(proposal),
        proposal.digest[:SHORT_DIGEST],
        proposal.by,
        time_of(proposal.at),
        _approvals(proposal),
        proposal.why or proposal.reason,
    )


def state_of(proposal: Any) -> str:
    if proposal.break_glass and not proposal.HasField("review"):
        return f"{proposal.state}, not reviewed"
    return f"{proposal.state} until {time_of(proposal.expires)}" if proposal.state == "open" else str(proposal.state)


def what_of(proposal: Any) -> str:
    before, after = proposal.from_percent, proposal.to_percent
    share = f"from {before} to {after} %" if before != after else f"ends at {after} %" if after else ""
    force = "--force" if proposal.force else ""
    parts = (proposal.verb, proposal.action, proposal.model, proposal.version, proposal.endpoint, share, force)
    return " ".join(filter(None, parts))


def _approvals(proposal: Any) -> str:
    names = ", ".join(each.by for each in proposal.approvals)
    counted = f"{len(proposal.approvals)} of {proposal.needed}"
    if len(proposal.approvals) > proposal.needed:
        counted = f"{len(proposal.approvals)}, {proposal.needed} needed"
    return "broken glass" if proposal.break_glass else f"{counted}: {names}" if names else counted


def print_proposal(proposal: Any) -> None:
    """All of it, as an approver has to see it."""
    lines = [f"proposal {proposal.number}: {what_of(proposal)}: {state_of(proposal)}"]
    rows = [
        ("by", f"{proposal.by}, {time_of(proposal.at)}"),
        ("reason", proposal.reason),
        ("digest", proposal.digest),
        ("files", proposal.files),
        ("server", proposal.server),
        ("steps", ", ".join(f"{step} %" for step in proposal.steps)),
        ("for", f"{proposal.seconds:.0f} s" if proposal.seconds else ""),
        ("auto", "goes on by itself" if proposal.auto else ""),
        ("force", proposal.force),
        ("without", ", ".join(proposal.without)),
        ("approvals", _approvals(proposal)),
        *(("approved", f"{each.by}, {time_of(each.at)}{_said(each)}") for each in proposal.approvals),
        ("ended", f"{time_of(proposal.since)}{f' by {proposal.ended_by}' if proposal.ended_by else ''}"
         if proposal.state not in ("open", "executing") else ""),
        ("why", proposal.why),
        ("reviewed", f"{proposal.review.by}, {time_of(proposal.review.at)}{_said(proposal.review)}"
         if proposal.HasField("review") else ""),
    ]  # fmt: skip
    lines += [f"  {label:<10} {text}" for label, text in rows if text]
    if proposal.verdict:
        lines += _verdict(json.loads(proposal.verdict))
    if proposal.diff:
        lines += ["  change of the configuration:", *(f"    {line}" for line in proposal.diff)]
    out = console()
    for line in lines:
        out.print(plain(line), soft_wrap=True)


def _said(approval: Any) -> str:
    return ("" if not approval.signed else ", by a signature") + (f": {approval.reason}" if approval.reason else "")


def _verdict(report: Any) -> list[str]:
    """On its shadow when it was proposed: each bound with what was measured, as `modelward shadow report` has it."""
    lines = [
        f"  {'verdict':<10} {report['verdict']} as a shadow of version {report['primary']}, {report['pairs']} pairs"
    ]
    for each in report["bounds"]:
        high = "any" if each["high"] is None else f"{each['high']:.4g}"
        value = "not known" if each["value"] is None else f"{each['value']:.4g}"
        within = f"certainly within {each['low'] or 0:.4g} to {high}, may be {each['bound']['least']:g}"
        lines.append(f"    {each['name']}: {value}, {within}: {each['verdict']}")
    return lines


def tell(answer: Any, *, as_document: bool, executes: bool = False) -> int:
    """What a proposal has come to: for approve, reject, withdraw and review. executes: the command, so that it is
    refused too where the execution has failed."""
    problems = problems_of(answer)
    if as_document:
        print_json(as_json(answer))
    elif problems:
        print_problems(problems)
    else:
        print_proposal(answer.proposal)
    return admin.REFUSED if problems or (executes and answer.proposal.state == "failed") else admin.DONE


def tell_done(proposal: Any) -> None:
    """What its execution has come to, in one line; nothing where it was not executed."""
    if proposal.state == "executing":
        console().print(plain(f"the server {proposal.server} of the fleet does it now"), soft_wrap=True)
    if proposal.state == "done" and (words := _done(proposal)):
        console().print(plain(words), soft_wrap=True)


def _done(proposal: Any) -> str:
    match proposal.verb:
        case "promote":
            on = ", and goes on by itself" if proposal.auto and proposal.to_percent < 100 else ""
            return f"{proposal.model} {proposal.version} has {proposal.to_percent} % of the requests now{on}"
        case "rollback":
            return f"{proposal.model} {proposal.version} was rolled back"
        case "accept":
            return f"what {proposal.model} has now is what is usual"
        case "reload":
            return "the configuration is followed now"
        case "restart":
            return "the workers were replaced"
    return ""


def tell_broken(answer: Any, *, asked: bool = False) -> None:
    """That the glass was broken, where it was. asked: for it."""
    if answer.HasField("proposal") and answer.proposal.break_glass:
        number = answer.proposal.number
        words = f"proposal {number}: done by breaking the glass; it waits for a review: modelward review {number}"
        console().print(words, soft_wrap=True)
    elif asked:
        console().print("it needs no approval: no glass was broken")


def add_glass(parser: argparse.ArgumentParser, *, reason: bool = True) -> None:
    """reason: whether the command has no --reason yet."""
    if reason:
        parser.add_argument("--reason", metavar="TEXT", default="", help="reason, which approvers and the trail see")
    parser.add_argument(
        "--break-glass",
        action="store_true",
        help="do it without the approvals that it needs; needs --reason and a role of operators.break_glass, and is "
        "reviewed afterwards",
    )


def glass_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of the request. Raises ProblemsFound."""
    if arguments.break_glass and not arguments.reason:
        how = "Say why: --break-glass --reason TEXT"
        raise ProblemsFound([Problem("--break-glass needs --reason", "command line", how=how)])
    return {"reason": arguments.reason, "break_glass": arguments.break_glass}


def is_waiting(answer: Any) -> bool:
    """Whether what was asked for waits for others."""
    return bool(answer.HasField("proposal") and answer.proposal.state == "open")


def tell_waiting(proposal: Any) -> int:
    """What was asked for waits for others."""
    missing = max(0, proposal.needed - len(proposal.approvals))
    words = f"proposal {proposal.number} waits for {missing} approval{'' if missing == 1 else 's'}"
    console().print(f"{words}; modelward approve {proposal.number}", soft_wrap=True)
    return WAITS
