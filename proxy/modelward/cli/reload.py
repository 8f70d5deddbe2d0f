"""`modelward reload`: lets a running server serve what its configuration and repository hold now."""

import argparse
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.output import console, print_json, print_problems, time_of
from modelward.cli.proposals import WAITS, add_glass, glass_of, is_waiting, tell_broken, tell_waiting
from modelward.cli.text import plain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_glass(parser)
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when every worker serves it, 1 where something is refused, 2 where no server answers, 4 where the
    configuration waits for approvals.
    """
    glass = glass_of(arguments)
    return admin.run(arguments, lambda client: _reload(client, json=arguments.json, **glass))


def _reload(client: admin.Client, *, json: bool, **glass: Any) -> int:
    with console(error=True).status("reloading"):
        answer: Any = client.call("Reload", **glass)
    problems = problems_of(answer)
    if json:
        print_json(as_json(answer))
        return _code(answer)
    print_problems(problems)
    out = console()
    if answer.changed or not (problems or answer.HasField("proposal")):
        out.print(f"reloaded{' in part' if problems else ''}: generation {answer.generation}")
        for words in answer.changed or ["nothing changed"]:
            out.print(f"  {plain(words)}", soft_wrap=True)
        for key in answer.needs_restart:
            out.print(f"  {plain(key)} differs and takes effect after a restart of the server", soft_wrap=True)
    if answer.HasField("last_change"):
        last = answer.last_change
        words = f"already applied at {time_of(last.at)} by {last.actor}: {', '.join(last.changed)}"
        out.print(f"  {plain(words)}", soft_wrap=True)
    if is_waiting(answer):
        tell_waiting(answer.proposal)
        out.print(f"  proposed by {plain(answer.proposal.by)}", soft_wrap=True)
    tell_broken(answer)
    return _code(answer)


def _code(answer: Any) -> int:
    if answer.HasField("proposal"):  # problems are told, and are not of what was asked for
        return WAITS if is_waiting(answer) else admin.DONE
    return admin.REFUSED if answer.problems else admin.DONE
