"""How far models that watch identities have learnt what these send, a line each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelward.cli.output import console
from modelward.cli.text import plain
from modelward.detect.progress import Progress


def print_learning(models: Iterable[Any]) -> None:
    """models: messages of the admin API."""
    for each in models:
        counts = (each.rows, each.needed, each.fewer, each.seconds, each.locked, each.fault_seconds, each.failing)
        progress = Progress(each.model, each.phase, *counts)
        console().print(plain(f"detection of {each.model}: {progress.words}"), soft_wrap=True)
