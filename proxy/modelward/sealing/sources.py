"""Where keys come from: files, environment variables, and programs that print them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from modelward.bounded_file import read_regular
from modelward.config.sealing import LARGEST_SECRET, IdentitySource, Secret
from modelward.sealing.process import take_variable

COMMAND_SECONDS = 30.0
LONGEST_WORDS = 200  # of what a command writes to stderr


def read(source: IdentitySource) -> Secret:
    """Its text, or why there is none. Blocks: a command may take long."""
    try:
        if source.file is not None:
            return Secret(str(source.file), _decoded(read_regular(source.file, LARGEST_SECRET)))
        if source.environment is not None:
            return _variable(source.environment)
        assert source.command is not None
        return Secret(source.command[0], _printed(source.command))
    except OSError as error:
        return Secret(_name(source), "", error.strerror or str(error), HOW_FILE if source.file else HOW_COMMAND)
    except ValueError as error:
        return Secret(_name(source), "", str(error), HOW_FILE if source.file else HOW_COMMAND)


HOW_FILE = "Name a file of `age-keygen`, or an SSH key without a passphrase, that this user may read"
HOW_COMMAND = "Try it as the server's user: it must print what age-keygen writes, and end with 0"


def _name(source: IdentitySource) -> str:
    return str(source.file) if source.file is not None else (source.command or ("",))[0]


def _variable(name: str) -> Secret:
    text = take_variable(name)
    if text is None:
        return Secret(f"${name}", "", "the variable is not set", "Set it for the process of the server")
    return Secret(f"${name}", text)


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
    if len(output) > LARGEST_SECRET:
        raise ValueError(f"it printed more than {LARGEST_SECRET} bytes")
    return _decoded(output)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
