"""What a load test is at: on a terminal one line that changes, elsewhere a new line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

SECONDS = 10.0  # between two lines

Told = Callable[[str], None]


@contextmanager
def progress(doing: str) -> Iterator[Told]:
    """What is told while this lasts is shown on stderr."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(doing) as status:
            yield status.update
    else:
        yield _Lines(doing).tell


class _Lines:
    def __init__(self, doing: str) -> None:
        self._last = float("-inf")
        self.tell(doing)

    def tell(self, doing: str) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS:
            self._last = now
            print(time.strftime("%H:%M:%S"), doing, file=sys.stderr, flush=True)
