"""`modelward audit sql`: what makes the tables of an audit log in PostgreSQL, and who needs which right to them."""

from __future__ import annotations

import argparse
import re

from modelward.audit.postgres_tables import statements
from modelward.problem import WrongUsage

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--schema", default="modelward_audit", metavar="NAME", help="audit.postgres.schema_name (default: %(default)s)"
    )
    parser.add_argument("--server", default="modelward", metavar="ROLE", help="role of servers (default: %(default)s)")
    parser.add_argument("--auditor", default="auditor", metavar="ROLE", help="role of readers (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    names = (arguments.schema, arguments.server, arguments.auditor)
    for name in names:
        if not _NAME.fullmatch(name):
            raise WrongUsage("names have small letters, digits and underscores, at most 63")
    print(statements(*names), end="")
    return 0
