"""Where captured rows lie: a running server says so, to operators that may read them; or the files are given.

A server checks the right `samples` for the model, and records who reads what. A user that can read the files needs no
server for it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import problems_of
from modelward.problem import ProblemsFound

FOLDER = "capture"  # within the state folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="NAME", help="name of the model")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="folder of the files, in place of asking a running server"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="the same by the server's folder `state`")
    admin.add_arguments(parser)


def of_files(arguments: argparse.Namespace) -> Path:
    return Path(arguments.folder if arguments.folder is not None else arguments.state / FOLDER)


def of_server(client: admin.Client, arguments: argparse.Namespace) -> Path:
    """Raises ProblemsFound."""
    answer: Any = client.call("OpenCapture", admin.ANSWER_SECONDS, model=arguments.model, action=arguments.action)
    if problems := problems_of(answer):
        raise ProblemsFound(problems)
    return Path(answer.folder)
