"""Where identities come from: files, environment variables, and programs that print them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelward.bounded_file import read_regular
from modelward.config.sealing import IdentitySource
from modelward.problem import Problem
from modelward.sealing.keys import LARGEST, Identity, identities

log = logging.getLogger("modelward.sealing")

COMMAND_SECONDS = 30.0
LONGEST_WORDS = 200  # of what a command writes to stderr


@dataclass(frozen=True, slots=True)
class Found:
    """identities: of all sources that could be read. problems: with the others."""

    identities: tuple[Identity, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_all(sources: Sequence[IdentitySource], variables: Mapping[str, str]) -> Found:
    """variables: of the environment, taken out of it before. A source that cannot be read is no hindrance for others.

    Blocks: a command may take long.
    """
    found: list[Identity] = []
    problems: list[Problem] = []
    for number, source in enumerate(sources):
        where = f"sealing.identities[{number}]"
        try:
            found += identities(_text(source, variables))
        except (ValueError, OSError) as error:
            why = f"{_name(source)}: {error.strerror or error if isinstance(error, OSError) else error}"
            how = "The file of `age-keygen`, or an SSH key that is not encrypted"
            problem = Problem("an identity that opens sealed models cannot be read", where, why, how)
            log.error("%s", problem)
            problems.append(problem)
    return Found(tuple(found), tuple(problems))


def _name(source: IdentitySource) -> str:
    if source.file is not None:
        return str(source.file)
    return f"${source.environment}" if source.environment is not None else (source.command or ("",))[0]


def _text(source: IdentitySource, variables: Mapping[str, str]) -> str:
    """Raises OSError, ValueError."""
    if source.file is not None:
        return _decoded(read_regular(source.file, LARGEST))
    if source.environment is not None:
        if source.environment not in variables:
            raise ValueError("the variable is not set")
        return variables[source.environment]
    assert source.command is not None
    return _printed(source.command)


def _printed(command: Sequence[str]) -> str:
    """What a program prints. Raises OSError, ValueError."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    child = subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=pipe, start_new_session=True)
    with child:
        try:
            output, errors = child.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise ValueError(f"it took longer than {COMMAND_SECONDS:g} s") from None
    if child.returncode != 0:
        said = " ".join(errors[-LONGEST_WORDS:].decode(errors="replace").split())
        raise ValueError(f"it ended with {child.returncode}{f': {said}' if said else ''}")
    if len(output) > LARGEST:
        raise ValueError(f"it printed more than {LARGEST} bytes")
    return _decoded(output)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
