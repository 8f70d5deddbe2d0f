"""A function in a child process: its result, its exception, and what bounds it."""

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from modelward import child
from modelward.child import Bounds, Child, ChildEnded, in_child, in_child_meanwhile
from modelward.no_process import NoProcess
from modelward.problem import Problem, ProblemsFound

BOUNDS = Bounds(20, 1 << 30)


def add(a: int, b: int) -> tuple[int, int]:
    return a + b, os.getpid()


def refuse(what: str) -> None:
    raise ProblemsFound([Problem(what, "here")])


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def go_on_for_ever() -> None:
    while True:
        time.sleep(1)


def take(size: int) -> int:
    return len(bytearray(size))


def fork_and_wait() -> None:
    os.fork()
    go_on_for_ever()


def write_file(path: str) -> None:
    with open(path, "w") as file:
        file.write("x")


def test_the_result_is_that_of_another_process() -> None:
    total, pid = in_child(BOUNDS, add, 1, 2)
    assert total == 3
    assert pid != os.getpid()


def test_between_its_start_and_its_result_the_parent_goes_on() -> None:
    first, second, third = Child(BOUNDS, add, 1, 2), Child(BOUNDS, add, 3, 4), Child(BOUNDS, add, 5, 6, secret=False)
    assert [third.result()[0], second.result()[0], first.result()[0]] == [11, 7, 3]


def test_a_child_that_is_told_no_secret_is_not_waited_for_until_its_result_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_command", lambda bounds: ["sleep", "60"])
    with pytest.raises(ChildEnded):
        Child(Bounds(0.1), add, 1, 2)
    started = Child(Bounds(0.1), add, 1, 2, secret=False)
    with pytest.raises(ChildEnded):
        started.result()


def test_one_whose_result_is_not_wanted_is_ended() -> None:
    child = Child(BOUNDS, go_on_for_ever)
    child.end()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_an_exception_is_raised_here() -> None:
    with pytest.raises(ProblemsFound, match="too bad"):
        in_child(BOUNDS, refuse, "too bad")


def test_a_death_is_told_and_kills_nothing_else() -> None:
    with pytest.raises(ChildEnded, match="SIGABRT"):
        in_child(BOUNDS, die, signal.SIGABRT)


def test_what_never_ends_is_ended() -> None:
    with pytest.raises(ChildEnded, match=r"longer than 0\.5 s"):
        in_child(Bounds(0.5), go_on_for_ever)


def test_what_it_has_forked_ends_with_it() -> None:
    with pytest.raises(ChildEnded):
        in_child(Bounds(0.5), fork_and_wait)  # returns only when no process holds the pipe


def test_memory_is_bounded() -> None:
    assert in_child(BOUNDS, take, 1 << 20) == 1 << 20
    with pytest.raises(MemoryError):
        in_child(BOUNDS, take, 1 << 30)


def test_it_writes_no_file(tmp_path: object) -> None:
    with pytest.raises(OSError, match="File too large"):
        in_child(BOUNDS, write_file, f"{tmp_path}/written")


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_a_loop_goes_on_meanwhile_and_gets_the_same() -> None:
    total, pid = asyncio.run(in_child_meanwhile(BOUNDS, add, 1, 2))
    assert (total, pid == os.getpid()) == (3, False)
    with pytest.raises(ProblemsFound, match="too bad"):
        asyncio.run(in_child_meanwhile(BOUNDS, refuse, "too bad"))
    with pytest.raises(ChildEnded, match="SIGABRT"):
        asyncio.run(in_child_meanwhile(BOUNDS, die, signal.SIGABRT))
    with pytest.raises(ChildEnded, match=r"longer than 0\.5 s"):
        asyncio.run(in_child_meanwhile(Bounds(0.5), go_on_for_ever))


def test_a_child_ends_with_the_task_that_waits_for_it() -> None:
    before = children()  # of other tests in this process

    async def begin_and_cancel() -> None:
        task = asyncio.create_task(in_child_meanwhile(BOUNDS, go_on_for_ever))
        while children() == before:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(begin_and_cancel())
    assert children() == before


def hold(what: bytes) -> int:
    go_on_for_ever()
    return len(what)


def pipes_of(pid: str) -> list[str]:
    """Descriptors of a process that another one can open through /proc, and read what others wrote there."""
    folder = Path(f"/proc/{pid}/fd")
    return [name for name in os.listdir(folder) if stat.S_ISFIFO(os.stat(folder / name).st_mode)]


def runs_its_own(pid: str) -> bool:
    """And not, between fork and exec, this program, whose descriptors it then has."""
    return b"modelward.child" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_nothing_that_it_is_given_can_be_copied_from_a_pipe() -> None:
    before = children()
    found: list[list[str]] = []

    def look() -> None:
        while not (new := [pid for pid in children() if pid not in before and runs_its_own(pid)]):
            os.sched_yield()
        found.append(pipes_of(new[0]))

    looking = threading.Thread(target=look)
    looking.start()
    with pytest.raises(ChildEnded):
        in_child(Bounds(2), hold, b"what a sealed file holds")
    looking.join()
    assert found == [[]]


# in place of the child: it does not say that it is undumpable
SILENT = """
import socket
channel = socket.socket(fileno=0)
channel.settimeout(0.3)
try:
    raise SystemExit(3 if channel.recv(1) else 5)
except TimeoutError:
    raise SystemExit(4) from None
"""


def test_it_is_given_nothing_before_it_cannot_be_dumped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelward.child._command", lambda bounds: [sys.executable, "-c", SILENT])
    with pytest.raises(ChildEnded, match="exit code 4"):
        in_child(BOUNDS, add, 1, 2)
    with pytest.raises(ChildEnded, match="exit code 4"):
        asyncio.run(in_child_meanwhile(BOUNDS, add, 1, 2))


def test_large_arguments_and_results_come_through() -> None:
    assert in_child(BOUNDS, bytes.swapcase, b"a" * 20_000_000) == b"A" * 20_000_000
    assert asyncio.run(in_child_meanwhile(BOUNDS, bytes.swapcase, b"a" * 20_000_000)) == b"A" * 20_000_000


def no_core() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_CORE)


def test_it_leaves_no_core_file() -> None:
    assert in_child(BOUNDS, no_core) == (0, 0)


def test_where_the_system_starts_no_process_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*how: object, **more: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(NoProcess, match=r"starts no further process: Resource temporarily unavailable; ulimit -u is"):
        in_child(BOUNDS, add, 1, 2)
    with pytest.raises(NoProcess, match=r"Raise pids\.max"):
        asyncio.run(in_child_meanwhile(BOUNDS, add, 1, 2))
