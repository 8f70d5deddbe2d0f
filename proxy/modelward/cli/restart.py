"""`modelward restart`: replaces the workers of a running server, one after the other, without a request that fails."""

import argparse
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.output import console, print_json, print_problems
from modelward.cli.proposals import add_glass, glass_of, is_waiting, tell_broken, tell_waiting
from modelward.problem import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_glass(parser)
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when every worker is replaced, 1 where one could not start, 2 where no server answers, 4 where
    it waits for approvals.
    """
    glass = glass_of(arguments)
    return admin.run(arguments, lambda client: _restart(client, json=arguments.json, **glass))


def _restart(client: admin.Client, *, json: bool, **glass: Any) -> int:
    status: Any = client.call("Status", admin.ANSWER_SECONDS)
    wanted = sum(each.state == "ready" for each in status.workers)
    out = console()
    out.quiet = json
    replaced: list[Any] = []
    problems: list[Problem] = []
    with _progress() as progress:
        bar = progress.add_task("restarting workers", total=wanted)
        for step in client.stream("RollingRestart", **glass):
            message: Any = step
            if message.HasField("done"):
                problems = problems_of(message.done)
                if is_waiting(message.done):
                    return tell_waiting(message.done.proposal)
                if not json:
                    tell_broken(message.done)
                break
            worker = message.replaced
            replaced.append(worker)
            progress.advance(bar)
            out.print(f"worker {worker.worker} (pid {worker.pid}) is in the place of {_before(worker.before)}")
    if json:
        print_json({"replaced": [as_json(each) for each in replaced], "problems": [p.as_json() for p in problems]})
    else:
        print_problems(problems)
    return admin.REFUSED if problems else admin.DONE


def _before(pid: int) -> str:
    return f"pid {pid}" if pid else "one that had died"


def _progress() -> Progress:
    """A bar on stderr, shown to people only."""
    err = console(error=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
