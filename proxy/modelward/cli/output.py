"""What commands print: tables and problems for people (rich, which honours NO_COLOR), JSON for programs.

Results go to stdout, problems to stderr. Names and paths may come from strangers: they are never read as markup, and
control characters in them are shown, not sent to the terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from modelward.cli.text import plain
from modelward.problem import Problem

if TYPE_CHECKING:
    from rich.console import Console

# rich takes 80 columns for a pipe or file, in which a table of models breaks every name
WIDTH_OF_FILES = 140


def is_terminal(*, error: bool = False) -> bool:
    """Whether a person may look at stdout, or at stderr. rich decides where variables say otherwise than the stream."""
    if any(variable in os.environ for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")):
        return console(error=error).is_terminal
    return (sys.stderr if error else sys.stdout).isatty()


@cache
def _console() -> type[Console]:
    from rich.console import Console  # noqa: PLC0415 - 2 MiB that a server without a terminal does not need

    class Unbroken(Console):
        def on_broken_pipe(self) -> None:
            """Called while BrokenPipeError is handled. The command says what it means; rich would end the process."""
            raise  # noqa: PLE0704

    return Unbroken


def console(*, error: bool = False) -> Console:
    """A console on stdout, or on stderr."""
    console = _console()(stderr=error, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_FILES
    return console


def time_of(seconds: float) -> str:
    """Of seconds since 1970, to the second; in seconds where no calendar has the time."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s"


def rfc3339(seconds: float) -> str:
    """Likewise, for machines: as the audit trail writes it; the first or last that there is where it has none."""
    try:
        time = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        time = (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """One table; cells are plain text, several lines allowed."""
    from modelward.cli.tables import fitted  # noqa: PLC0415 - as in _console

    out = console()
    out.print(fitted(title, columns, rows, out.width))


def print_problems(problems: Iterable[Problem]) -> None:
    """Each problem as what is wrong, where, why and how to mend it, on stderr."""
    _print(problems, "problem", "bold red")


def print_refused(which: str, problems: Iterable[Problem]) -> None:
    """What keeps a model from being served, beside others that are, on stderr. which: the model, in words."""
    _print((replace(each, what=f"{which}: {each.what}") for each in problems), "refused", "bold yellow")


def print_notes(notes: Iterable[Problem]) -> None:
    """What was left out and is probably not meant so, on stderr."""
    _print(notes, "note", "bold yellow")


def _print(found: Iterable[Problem], label: str, style: str) -> None:
    from rich.text import Text  # noqa: PLC0415 - as in _console

    out = console(error=True)
    for problem in found:
        out.print(Text.assemble((f"{label}: ", style), plain(problem.what)), soft_wrap=True)
        for word, text in (("where", problem.where), ("why", problem.why), ("mend", problem.how)):
            if text:
                out.print(Text.assemble((f"  {word}: ", "dim"), plain(text)), soft_wrap=True)


def give_stdout_up() -> None:
    """What is still to be written goes nowhere: Python would write it when the process ends, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value: Any) -> None:
    """`value` as one indented JSON document on stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=True, default=str)
    sys.stdout.write("\n")
