"""A server before it has imported what it serves with."""

from __future__ import annotations

import subprocess
import sys

import pytest

SIGNALLED = """
import os, signal, sys
from modelward import __main__ as main

sys.argv[1:] = ["serve"]
main._prepare = lambda prepare=main._prepare: (prepare(), os.kill(os.getpid(), signal.{0}))
sys.exit(main.main())
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_it_without_a_traceback(name: str, code: int) -> None:
    command = [sys.executable, "-c", SIGNALLED.format(name)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (code, "")
