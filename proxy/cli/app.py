"""Parses the command line and runs one command. Only that command's module is imported, so that help is instant.

Exit codes: 0 all is well, 1 a problem was found, 2 wrong usage, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from proxy.problem import ProblemsFound

COMMANDS = {
    "demo": "show every guard at work on a bundled model, on loopback",
    "serve": "serve a model, a repository or a configuration",
    "status": "show what a running server is, has and does",
    "reload": "let a running server serve what its configuration and repository hold now",
    "restart": "replace the workers of a running server, without a request that fails",
    "promote": "give a version of a model its first share of the requests, or its next",
    "rollback": "take a promotion back at once",
    "shadow": "show verdicts on a model's shadows, and requests on which they disagreed",
    "check": "validate everything that serve would need",
    "profile": "fit the training profile of a model, or show one",
    "canary": "record what a model must answer before it is served",
    "token": "add, list and revoke API keys",
    "infer": "send one request from the shell",
    "schema": "print the JSON schema of the configuration",
}
INTERRUPTED = 130


class _ShowVersion(argparse.Action):
    """Looks the version up only when asked: the package metadata takes longer than all the rest of `--help`."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"modelward {import_module('importlib.metadata').version('modelward')}")
        parser.exit()


def _parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of the whole program, with the arguments of `command` alone."""
    parser = argparse.ArgumentParser(prog="modelward", description="A guard in front of machine-learning models.")
    parser.add_argument("--version", action=_ShowVersion)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        below = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == command:
            module = import_module(f"proxy.cli.{name}")
            module.add_arguments(below)
            below.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs `argv` (without the program's name) and returns the exit code."""
    try:
        command = next((word for word in argv if not word.startswith("-")), None)
        arguments = _parser(command).parse_args(argv)
        return int(arguments.run(arguments))
    except SystemExit as leaving:  # argparse leaves so after help, and with 2 after an error that it has printed
        return leaving.code if isinstance(leaving.code, int) else 1
    except ProblemsFound as found:
        import_module("proxy.cli.output").print_problems(found.problems)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the reader (head, less) has what it wanted; nothing may be written to the pipe while Python shuts down
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
