"""`modelward serve`: serves a model, a repository or a configuration until SIGTERM or SIGINT, then drains."""

import argparse
from typing import get_args

from modelward.config.arguments import add_arguments as add_configuration_arguments
from modelward.config.log import Level
from modelward.config.reading import Reading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_configuration_arguments(parser)
    parser.add_argument(
        "--log-level", choices=get_args(Level), help="lowest level of the log; overrides log.level (default: info)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 after a drain, 1 where a problem prevents serving."""
    reading = Reading(arguments)  # goes on while the server is imported
    from modelward.cli.serving import run as serve  # noqa: PLC0415

    return serve(arguments, reading)
