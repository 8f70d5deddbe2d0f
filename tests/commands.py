"""Commands of modelward, each run to its end in the process of the test."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from modelward.cli.app import main


def modelward(*arguments: str | Path, **environment: str) -> CompletedProcess[str]:
    """To start Python takes longer than what nearly all of them do. Not for two threads at once: stdout is replaced."""
    words = [*map(str, arguments)]
    with (
        mock.patch.dict(os.environ, {"NO_COLOR": "1", **environment}),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = main(words)
    return CompletedProcess(words, code, out.getvalue(), err.getvalue())
