from collections.abc import Iterator

import pytest

from loadtests.tools.process import Process, started


@pytest.fixture
def idle_process() -> Iterator[Process]:
    """A process that does nothing, for lanes whose figures are made up."""
    with started("idle", ["sleep", "60"]) as process:
        yield process
