"""What a process was running when it died."""

import os
import signal
import subprocess
import sys

from native.notes import take_runs
from native.region import Region

NOTES = 1000
DYING = f"""
import os, signal, sys
from native.engine import LoadNote, note_deaths
from native.region import Region
note_deaths(Region.joined(int(sys.argv[1]), 0))
notes = [LoadNote("m", str(number), "digest") for number in range({NOTES})]
with notes[-1]:
    os.kill(os.getpid(), signal.SIGABRT)
"""


def test_a_process_has_as_many_notes_as_it_needs() -> None:
    region = Region.shared(1)
    region.open(0)
    fd = os.dup(region.fd)
    try:
        ended = subprocess.run([sys.executable, "-c", DYING, str(fd)], pass_fds=[fd], check=False, timeout=60)
    finally:
        os.close(fd)
    assert ended.returncode == -signal.SIGABRT
    assert [(run.version, run.signal) for run in take_runs(region, 0)] == [(str(NOTES - 1), signal.SIGABRT)]
    assert take_runs(region, 0) == []
