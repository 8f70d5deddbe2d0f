"""`modelward model`: a version's files, before they are served. Each action is a module of its own."""

import argparse
from collections.abc import Mapping
from types import ModuleType

from modelward.cli import model_scan, model_seal, model_show, model_sign, model_unseal, model_verify

# each has SUMMARY, DESCRIPTION, add_arguments(parser) and run(arguments), whose exit code is the command's
ACTIONS: Mapping[str, ModuleType] = {
    "show": model_show,
    "scan": model_scan,
    "seal": model_seal,
    "unseal": model_unseal,
    "sign": model_sign,
    "verify": model_verify,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, module in ACTIONS.items():
        below = actions.add_parser(name, help=module.SUMMARY, description=module.DESCRIPTION)
        module.add_arguments(below)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 where all is well, 1 where something is wrong with the version."""
    return int(ACTIONS[arguments.action].run(arguments))
