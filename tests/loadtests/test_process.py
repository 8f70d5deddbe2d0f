"""What the load tests say about a process is what the kernel says."""

import os
import resource
import subprocess
import sys
import time

import pytest

from loadtests.tools import process
from loadtests.tools.process import Ended, started

BURN = "import sys\nwhile True: pass"


def test_cpu_time_of_a_tree_counts_the_children() -> None:
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
    with started("burner", [sys.executable, "-c", parent]) as burner:
        give_up = time.monotonic() + 30
        while burner.cpu_ns() < 300_000_000:
            assert time.monotonic() < give_up, "a child that burns CPU shows none"
        family = process.tree(burner.pid)
        assert len(family) == 2
        # the parent starts an interpreter and waits; the time is its child's
        assert process.cpu_ns(family[1]) > 100_000_000
    assert not any(_burns(pid) for pid in family), "a child outlived the end of its parent"


def _burns(pid: int) -> bool:
    """Whether it still runs: its id may have been given away, and a zombie has no command line."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return BURN.encode() in file.read()
    except FileNotFoundError:
        return False


def test_cpu_time_agrees_with_what_the_process_knows_of_itself() -> None:
    before_kernel, before_own = process.cpu_ns(os.getpid()), time.process_time_ns()
    while time.process_time_ns() - before_own < 200_000_000:
        pass
    spent_own = time.process_time_ns() - before_own
    spent_kernel = process.cpu_ns(os.getpid()) - before_kernel
    assert spent_kernel == pytest.approx(spent_own, rel=0.1)


def test_time_without_a_core_is_what_a_process_waited() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # which the child inherits
    try:
        with started("burner", [sys.executable, "-c", BURN]) as burner:
            waited, spent = process.waited_ns(os.getpid()), time.process_time_ns()
            while burner.cpu_ns() < 50_000_000 or time.process_time_ns() - spent < 200_000_000:
                pass
            assert process.waited_ns(os.getpid()) - waited > 50_000_000
    finally:
        os.sched_setaffinity(0, cores)
    assert process.waited_ns(burner.pid) == 0, "it has ended"


def test_a_process_that_ends_early_is_told_with_its_last_words() -> None:
    script = "print('so this is life'); raise SystemExit(3)"
    ended = pytest.raises(Ended, match=r"code 3:\nso this is life")
    with started("mayfly", [sys.executable, "-c", script]) as mayfly, ended:
        mayfly.check(wait_seconds=30)


def test_free_ports_are_different() -> None:
    assert len(set(process.free_ports(20))) == 20


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))\n"
        "from loadtests.tools.process import allow_files; print(allow_files(100), allow_files(64))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["100", "100"]


def test_resident_memory_is_in_bytes() -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 0.2 * peak < process.resident_bytes(os.getpid()) <= 1.1 * peak
