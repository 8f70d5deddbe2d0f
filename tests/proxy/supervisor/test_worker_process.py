"""What a worker's process is started with."""

import os
import sys

from modelward.supervisor.worker_process import environment
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
