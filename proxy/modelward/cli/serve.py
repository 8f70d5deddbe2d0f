"""`modelward serve`: serves a model, a repository or a configuration until SIGTERM or SIGINT, then drains."""

import argparse
import os
from collections.abc import Mapping
from typing import get_args

from modelward.bounded_file import by_name, read_regular
from modelward.config.arguments import add_arguments as add_configuration_arguments
from modelward.config.log import Level
from modelward.config.reading import Reading
from modelward.config.settings_files import unreadable
from modelward.models import reader_process
from modelward.problem import ProblemsFound

KEY = "repository"
LARGEST_FILE = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_configuration_arguments(parser)
    parser.add_argument(
        "--log-level", choices=get_args(Level), help="lowest level of the log; overrides log.level (default: info)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 after a drain, 1 where a problem prevents serving."""
    if arguments.config is not None:
        try:
            arguments.config = by_name(arguments.config)  # the child that reads it has none of our descriptors
        except OSError as error:
            raise ProblemsFound([unreadable(arguments.config, error)]) from None
    reading = Reading(arguments)  # goes on while the server is imported, as does what reads model files
    reader = reader_process.fork() if names_models(arguments, os.environ) else None
    try:
        from modelward.cli.serving import run as serve  # noqa: PLC0415

        return serve(arguments, reading, reader)
    finally:
        if reader is not None:
            reader.end()


def names_models(arguments: argparse.Namespace, environ: Mapping[str, str]) -> bool:
    """A guess, before the configuration is read. Where it is wrong, a process is started in vain, or later."""
    variables = [name.lower() for name in environ if name.startswith("MODELWARD")]
    named = arguments.model is not None or arguments.model_repository is not None
    named = named or any(KEY in each for each in (*arguments.sets, *variables))
    if named or arguments.config is None:
        return named
    try:
        return KEY.encode() in read_regular(arguments.config, LARGEST_FILE)
    except OSError:
        return False
