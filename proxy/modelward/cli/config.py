"""`modelward config`: signatures of approvers on configuration files. Each action is a module of its own."""

import argparse
from collections.abc import Mapping
from types import ModuleType

from modelward.cli import config_sign, config_verify

# each has SUMMARY, DESCRIPTION, add_arguments(parser) and run(arguments), whose exit code is the command's
ACTIONS: Mapping[str, ModuleType] = {"sign": config_sign, "verify": config_verify}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, module in ACTIONS.items():
        below = actions.add_parser(name, help=module.SUMMARY, description=module.DESCRIPTION)
        module.add_arguments(below)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 where all is well, 1 where the file is not signed, or cannot be."""
    return int(ACTIONS[arguments.action].run(arguments))
