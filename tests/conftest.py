"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support import EmbeddedServer, serving

# other work on the machine makes an example slow, not wrong
hypothesis.settings.register_profile("modelward", deadline=None)
hypothesis.settings.load_profile("modelward")

Serve = Callable[..., EmbeddedServer]


# Servers are started by the hundred: what Python has compiled for one serves the next, whatever the environment says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Python's readline writes a size of a terminal that is not there into the environment: commands would fold their lines.
for variable in ("COLUMNS", "LINES"):
    os.environ.pop(variable, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What real servers do beside other work is tried up to twice more where it fails; the summary tells all."""
    tests = Path(__file__).parent
    folders = {tests / "e2e", tests / "loadtests"}
    for item in items:
        if folders & set(item.path.parents):
            item.add_marker(pytest.mark.flaky(reruns=2))


def pytest_collection_finish() -> None:
    """Whatever all tests have imported is there to stay: a collection that a test asks for looks at its own objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command that a test runs in this process configures the log for that test's stderr, which closes afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler and handler not in handlers:
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers for one test: serve({"name": model_bytes}, limits__peer=...), as `tests.support.serving`."""
    with contextlib.ExitStack() as stack:
        started = 0

        def start(models: Mapping[str, bytes | dict[int, bytes]], **settings: Any) -> EmbeddedServer:
            nonlocal started
            started += 1
            return stack.enter_context(serving(tmp_path / f"repository-{started}", models, **settings))

        yield start
