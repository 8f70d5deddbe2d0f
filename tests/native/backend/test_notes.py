"""What a process was running when it died."""

import os
import signal
import subprocess
import sys

from modelward_native.backend.notes import Run, take_runs
from modelward_native.region.region import Region

NOTES = 1000
DYING = f"""
import os, signal, sys
from modelward_native.backend.runtime import LoadNote, note_deaths
from modelward_native.region.region import Region
note_deaths(Region.joined(int(sys.argv[1]), 0))
notes = [LoadNote("m", str(number), "digest") for number in range({NOTES})]
with notes[-1]:
    os.kill(os.getpid(), signal.SIGABRT)
"""

IN_A_POOL = """
import sys
import numpy as np
from modelward_native.backend.engine import Engine
from modelward_native.backend.runtime import LoadNote, note_deaths
from modelward_native.region.region import Region
from modelward.models.runtime import runtime
from tests.models import dividing_in_pool
runtime()
note_deaths(Region.joined(int(sys.argv[1]), 0))
with LoadNote("other", "1", "digest"):
    Engine("other", "1", dividing_in_pool(), 2)
with LoadNote("m", "1", "digest"):
    smallest = np.array([np.iinfo(np.int64).min])
    Engine("m", "1", dividing_in_pool(), 2).run_once({"a": smallest, "b": np.array([-1])})
"""


def died_of(script: str, number: int) -> list[Run]:
    """What a process was running that has ended with this signal."""
    region = Region.shared(1)
    region.open(0)
    fd = os.dup(region.fd)
    try:
        ended = subprocess.run([sys.executable, "-c", script, str(fd)], pass_fds=[fd], check=False, timeout=60)
    finally:
        os.close(fd)
    assert ended.returncode == -number
    runs = take_runs(region, 0)
    assert take_runs(region, 0) == []
    return runs


def test_a_process_has_as_many_notes_as_it_needs() -> None:
    runs = died_of(DYING, signal.SIGABRT)
    assert [(run.version, run.signal) for run in runs] == [(str(NOTES - 1), signal.SIGABRT)]


def test_a_death_in_a_pool_is_that_of_the_model_whose_pool_it_is() -> None:
    runs = died_of(IN_A_POOL, signal.SIGFPE)
    assert [(run.name, run.loading, run.signal) for run in runs] == [("m", True, signal.SIGFPE)]
