"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import EmbeddedServer, serving

Serve = Callable[..., EmbeddedServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers for one test: serve({"name": model_bytes}, limits__peer=...), as `tests.support.serving`."""
    with contextlib.ExitStack() as stack:
        started = 0

        def start(models: dict[str, bytes | dict[int, bytes]], **settings: Any) -> EmbeddedServer:
            nonlocal started
            started += 1
            return stack.enter_context(serving(tmp_path / f"repository-{started}", models, **settings))

        yield start
