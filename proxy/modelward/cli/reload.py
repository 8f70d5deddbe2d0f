"""`modelward reload`: lets a running server serve what its configuration and repository hold now."""

import argparse
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import add_arguments, as_json, problems_of
from modelward.cli.output import console, plain, print_json, print_problems, time_of

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when every worker serves it, 1 where something is refused, 2 where no server answers."""
    return admin.run(arguments, lambda client: _reload(client, json=arguments.json))


def _reload(client: admin.Client, *, json: bool) -> int:
    with console(error=True).status("reloading"):
        answer: Any = client.call("Reload")
    problems = problems_of(answer)
    if json:
        print_json(as_json(answer))
        return admin.REFUSED if problems else admin.DONE
    print_problems(problems)
    out = console()
    if answer.changed or not problems:
        out.print(f"reloaded{' in part' if problems else ''}: generation {answer.generation}")
        for words in answer.changed or ["nothing changed"]:
            out.print(f"  {plain(words)}", soft_wrap=True)
        for key in answer.needs_restart:
            out.print(f"  {plain(key)} differs and takes effect after a restart of the server", soft_wrap=True)
    if answer.HasField("last_change"):
        last = answer.last_change
        words = f"already applied at {time_of(last.at)} by {last.actor}: {', '.join(last.changed)}"
        out.print(f"  {plain(words)}", soft_wrap=True)
    return admin.REFUSED if problems else admin.DONE
