"""The page of commands, from their argument parsers."""

import argparse
import inspect
from collections.abc import Iterator

from modelward.cli import admin, app
from scripts.docs import markdown

INTRODUCTION = """
`modelward COMMAND --help` shows the same in the terminal. `modelward --version` prints the version.

Every command exits with 0 when all is well, 1 when it has found a problem, 2 for wrong usage and 130 when it is
interrupted. Where a command says more, its section lists it.

`serve` and `check` also accept the names of Triton's flags. A Triton flag that has no equal here is an error that says
what to write instead.
"""
ADMIN = """
Commands that ask a running server find it by these options.
"""


def page() -> str:
    summary = markdown.table(
        ("Command", "What it does"), ((f"[`{name}`](#modelward-{name})", text) for name, text in app.COMMANDS.items())
    )
    blocks = [INTRODUCTION, summary]
    for name in app.COMMANDS:
        blocks += _command(name)
    blocks += ["## Options of the admin API", ADMIN, _table(_shown(_admin_options()))]
    return markdown.page("Commands", *blocks)


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = app.parser_of(command)[1]
    assert parser is not None, command
    return parser


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return {name: below for each in found for name, below in each.choices.items()}


def _command(name: str) -> Iterator[str]:
    parser = parser_of(name)
    yield f"## modelward {name}"
    yield from _arguments(parser)
    for action, below in subcommands(parser).items():
        yield f"### modelward {name} {action}"
        yield from _arguments(below)
    if codes := inspect.getdoc(app.module_of(name).run):
        yield f"**Exit code**: {codes.partition('Exit code: ')[2] or codes}"


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    shown = _shown(parser)
    yield parser.description or ""
    yield markdown.fenced(usage(parser, shown), "text")
    shared = {_name(each) for each in _shown(_admin_options())}
    asks_server = shared <= {_name(each) for each in shown}
    yield _table([each for each in shown if not (asks_server and _name(each) in shared)])
    yield "It also takes the [options of the admin API](#options-of-the-admin-api)." if asks_server else ""
    yield parser.epilog or ""


def _admin_options() -> argparse.ArgumentParser:
    """Those that all commands have which ask a running server."""
    parser = argparse.ArgumentParser()
    admin.add_arguments(parser)
    return parser


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Positional arguments first."""
    shown = [each for each in parser._actions if each.help != argparse.SUPPRESS and each.dest != "help"]
    return sorted(shown, key=lambda each: bool(each.option_strings))


def _table(shown: list[argparse.Action]) -> str:
    rows = [(_name(each), _help(each)) for each in shown if not isinstance(each, argparse._SubParsersAction)]
    return markdown.table(("Argument", "Meaning"), rows) if rows else ""


def usage(parser: argparse.ArgumentParser, shown: list[argparse.Action]) -> str:
    """Positional arguments and required options; argparse's own differs between versions of Python."""
    words = [parser.prog]
    optional = any(each.option_strings and not each.required for each in shown)
    words += [_name(each, mark=False) for each in shown if each.option_strings and each.required]
    words += ["[OPTION...]"] * optional
    for each in shown:
        if isinstance(each, argparse._SubParsersAction):
            words.append(f"{each.metavar} ..." if each.required else f"[{each.metavar} ...]")
        elif not each.option_strings:
            name = _name(each, mark=False)
            words.append(f"[{name}]" if each.nargs == "?" else f"{name}..." if each.nargs == "+" else name)
    return " ".join(words)


def _name(action: argparse.Action, *, mark: bool = True) -> str:
    if not action.option_strings:
        text = str(action.metavar or "|".join(map(str, action.choices or [])) or action.dest.upper())
    else:
        value = str(action.metavar or "|".join(map(str, action.choices or [])) or action.dest.upper())
        value = f"[{value}]" if action.nargs == "?" else value
        text = action.option_strings[-1] + ("" if action.nargs == 0 else f" {value}")
    return markdown.code(text) if mark else text


def _help(action: argparse.Action) -> str:
    values = {**vars(action), "prog": "modelward"}
    text = (action.help or "") % values
    return f"{text} (required)".strip() if action.option_strings and action.required else text
