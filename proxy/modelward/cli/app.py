"""Parses the command line and runs one command. Only that command's module is imported, so that help is instant.

Exit codes: 0 all is well, 1 a problem was found, 2 wrong usage, 3 done but not durable, 4 waits for approvals,
130 interrupted.
"""

import argparse
import difflib
import errno
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from modelward.no_process import refused_thread
from modelward.problem import ProblemsFound, WrongUsage
from modelward.suggest import did_you_mean

COMMANDS = {
    "demo": "show every guard at work on a bundled model, on loopback",
    "serve": "serve a model, a repository or a configuration",
    "status": "show the state of a running server",
    "reload": "reload the configuration and the repository of a running server",
    "restart": "replace the workers of a running server without failing a request",
    "drain": "end a running server as SIGTERM does: finish what is in flight, take nothing new",
    "promote": "give a version of a model its first or its next share of the requests",
    "rollback": "roll a promotion back at once",
    "proposals": "list what waits for an approval or a review",
    "approve": "agree to what another operator has proposed",
    "reject": "end a proposal without executing it",
    "withdraw": "end your own proposal without executing it",
    "review": "say that what was done with --break-glass was looked at",
    "pardon": "run a version again with inputs that workers died of",
    "limit": "limit a model or an identity of a running server for a time",
    "breaker": "hold circuit breakers of a running server open or closed for a time",
    "identities": "show who looks like a thief or an attacker to a running server, restrict or pardon them",
    "whoami": "show who you are for a running server, and your roles",
    "can-i": "tell whether you may do something to a running server",
    "shadow": "show verdicts on the shadows of a model, and requests on which they disagreed",
    "capture": "list captured requests of a model, label them, and build a training set of them",
    "drift": "show what has changed in the inputs and outputs of models, or accept it",
    "check": "check everything that serve would need",
    "profile": "fit the training profile of a model, or show one",
    "canary": "record the answers that a model must give before it is served",
    "model": "sign, verify, scan, seal and unseal the files of a version, or show their digest",
    "audit": "read the audit trail, check that it is whole, and prove what is in it",
    "token": "add, list and revoke API keys",
    "infer": "send one request from the shell",
    "config": "sign a configuration file as an approver, or tell who has",
    "schema": "print the JSON schema of the configuration",
}
BELOW = {
    "audit": ("tail", "query", "verify", "export", "prove", "witness"),
    "model": ("sign", "verify", "scan", "seal", "unseal"),
    "config": ("sign", "verify"),
    "identities": ("restrict",),
}
"""Actions that are taken for commands, by the command that has them."""
INTERRUPTED = 130
# how writing to stdout fails, which has no name, where it is no pipe
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
WRONG_USAGE = 2


class _ShowVersion(argparse.Action):
    """Looks the version up only when asked: the package metadata takes longer than all the rest of `--help`."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"modelward {import_module('importlib.metadata').version('modelward')}")
        parser.exit()


def _answer(command: str | None, words: str) -> int:
    print(f"modelward {command or ''}".rstrip() + f": {words}", file=sys.stderr)
    return WRONG_USAGE


def _unknown(unknown: Sequence[str], below: argparse.ArgumentParser | None) -> str:
    """What is not known, and which flag was perhaps meant."""
    words = f"unrecognized arguments: {' '.join(unknown)}"
    flag = next((word.partition("=")[0] for word in unknown if word.startswith("-")), None)
    if flag is None or below is None:
        return words
    known = [name for action in below._actions if action.help != argparse.SUPPRESS for name in action.option_strings]
    close = difflib.get_close_matches(flag, known, n=1)
    return f"{words}; did you mean {close[0]}?" if close else f"{words}; --help lists all flags"


def module_of(command: str) -> ModuleType:
    return import_module("modelward.cli." + command.replace("-", "_"))


def parser_of(command: str | None) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser | None]:
    """The parser of the whole program, with the arguments of `command` alone, and that command's."""
    chosen = None
    parser = argparse.ArgumentParser(prog="modelward", description="A guard in front of machine-learning models.")
    parser.add_argument("--version", action=_ShowVersion)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        below = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == command:
            module = module_of(name)
            module.add_arguments(below)
            below.set_defaults(run=module.run)
            chosen = below
    return parser, chosen


def main(argv: Sequence[str]) -> int:
    """Runs `argv` (without the program's name) and returns the exit code."""
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader (head, less) has what it wanted
        import_module("modelward.cli.output").give_stdout_up()
        return 1
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:
            raise
        import_module("modelward.cli.output").give_stdout_up()
        print(f"modelward: output cannot be written: {error.strerror}", file=sys.stderr)
        return 1


def _run(argv: Sequence[str]) -> int:
    try:
        command = next((word for word in argv if not word.startswith("-")), None)
        if argv and command == argv[0] and command not in COMMANDS:
            has = [f"modelward {above} {command}" for above, actions in BELOW.items() if command in actions]
            meant = " or ".join(has) or did_you_mean(command, COMMANDS) or "modelward --help lists the commands"
            return _answer(None, f"there is no command {command!r}: {meant}")
        parser, below = parser_of(command)
        arguments, unknown = parser.parse_known_args(argv)
        if unknown:
            return _answer(command, _unknown(unknown, below))
        return int(arguments.run(arguments))
    except WrongUsage as answered:
        return _answer(command, str(answered))
    except SystemExit as leaving:  # argparse leaves so after help, and with 2 after an error that it has printed
        return leaving.code if isinstance(leaving.code, int) else 1
    except ProblemsFound as found:
        import_module("modelward.cli.output").print_problems(found.problems)
        return 1
    except RuntimeError as error:
        if (refused := refused_thread(error)) is None:
            raise
        import_module("modelward.cli.output").print_problems([refused])
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
