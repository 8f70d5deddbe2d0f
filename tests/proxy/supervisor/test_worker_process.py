"""What a worker's process is started with, and its end."""

import asyncio
import os
import subprocess
import sys
from typing import Any

from modelward.supervisor.worker_process import WorkerProcess, environment
from modelward.tunables import MALLOC_TUNABLES


def test_a_worker_imports_what_its_supervisor_imports() -> None:
    made = environment({"PATH": "/bin", "PYTHONPATH": "/elsewhere"})
    assert made["PATH"] == "/bin"
    assert made["PYTHONPATH"].split(os.pathsep) == [os.path.abspath(entry) for entry in sys.path if entry]


def test_malloc_keeps_more_blocks_for_each_thread() -> None:
    assert environment({})["GLIBC_TUNABLES"] == MALLOC_TUNABLES


def test_what_the_operator_says_of_malloc_stands_last_and_so_wins() -> None:
    made = environment({"GLIBC_TUNABLES": "glibc.malloc.tcache_count=3"})
    assert made["GLIBC_TUNABLES"] == f"{MALLOC_TUNABLES}:glibc.malloc.tcache_count=3"


class Closing:
    """A channel during whose end somebody kills the worker."""

    worker: WorkerProcess

    async def close(self) -> None:
        self.worker.kill()


def test_one_that_has_ended_may_be_killed_until_its_end_is_known() -> None:
    async def ended() -> int:
        channel: Any = Closing()
        channel.worker = WorkerProcess(0, subprocess.Popen(["true"]), channel)
        return await channel.worker.ended()

    assert asyncio.run(ended()) == 0
