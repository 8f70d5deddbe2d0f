"""Workers that are forked before anything is started, and processes that become none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from modelward.supervisor import prefork
from modelward.supervisor.prefork import is_tuned
from modelward.tunables import MALLOC_TUNABLES, tuned
from tests.models import identity, repository
from tests.support import serve_process, wait_until

SHARED_MiB = 8


def forked(body: str, tunables: str = MALLOC_TUNABLES) -> str:
    """What a process prints that forks, and whose forks run `work` in place of a worker's main function."""
    code = f"""
import os, socket, sys
from modelward.server import worker
from modelward.supervisor.prefork import prefork
from modelward.tunables import MALLOC_TUNABLES

def work(arguments):
    number, *descriptors = map(int, arguments)
    with socket.socket(fileno=descriptors[-1]) as told:
        held = ",".join(os.listdir("/proc/self/fd"))
        told.sendall(f"{{number}} in {{os.getpid()}} with {{held}}".encode())
    return 7

worker.main = work
ours, theirs = socket.socketpair()
started = lambda count: prefork(count, MALLOC_TUNABLES, lambda: None, [])
{textwrap.dedent(body)}
"""
    command, variables = [sys.executable, "-c", code], {**os.environ, "GLIBC_TUNABLES": tunables}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_fork_becomes_a_worker_with_what_it_is_given_and_nothing_else() -> None:
    told = forked(
        """
        open("/dev/null")
        kept, (first, second) = open("/dev/null"), started(2)
        assert first.begin(3, [1, 2, theirs.fileno()])
        print(first.pid, ours.recv(100).decode(), first.wait())
        second.end()
        """
    ).split()
    pid, number, within, descriptors, code = told[0], told[1], told[3], told[5], told[6]
    assert (number, within, code) == ("3", pid, "7")
    # stdin, stdout, stderr, the three that it is given, and the folder that is listed
    assert len(descriptors.split(",")) == 7


def test_each_fork_has_a_channel_to_a_reader_of_model_files_of_its_own() -> None:
    told = forked(
        """
        from modelward.models import reader_process
        from modelward.models.reading import Wire

        def work(arguments):
            number, *descriptors, reader = map(int, arguments)
            Wire(socket.socket(fileno=reader)).receive()
            with socket.socket(fileno=descriptors[-1]) as told:
                told.sendall(b"greeted")
            return 0

        worker.main = work
        reader = reader_process.fork()
        for one in prefork(2, MALLOC_TUNABLES, lambda: None, [], reader):
            assert one.begin(0, [1, 2, theirs.fileno()])
            print(ours.recv(100).decode(), one.wait())
        reader.end()
        reader.end()
        try:
            os.wait()
        except ChildProcessError:
            print("and no process is left")
        """
    ).splitlines()
    assert told == ["greeted 0", "greeted 0", "and no process is left"]


def test_a_reader_of_model_files_ends_with_those_that_could_ask_and_is_not_forked_from_threads() -> None:
    told = forked(
        """
        import threading
        from modelward.models import reader_process
        reader = reader_process.fork()
        channel = reader.channel()
        reader._control.close()
        channel.close()
        print(os.waitpid(reader._pid, 0)[1])
        over = threading.Event()
        threading.Thread(target=over.wait).start()
        print(reader_process.fork())
        over.set()
        """
    ).split()
    assert told == ["0", "None"]


def test_a_fork_that_has_died_meanwhile_is_none() -> None:
    told = forked(
        """
        import signal
        (one,) = started(1)
        os.kill(one.pid, signal.SIGKILL)
        os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
        print(one.begin(0, [1, 2, theirs.fileno()]))
        """
    )
    assert told.split() == ["False"]


def test_nothing_is_forked_from_a_process_with_threads_or_with_another_malloc() -> None:
    threaded = """
    import threading
    over = threading.Event()
    threading.Thread(target=over.wait).start()
    print(len(started(1)))
    over.set()
    """
    assert forked(threaded).split() == ["0"]
    assert forked("print(len(started(1)))", "glibc.malloc.tcache_count=3").split() == ["0"]


def test_what_malloc_is_told_is_read_where_the_process_began(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = "glibc.malloc.tcache_count=99"
    monkeypatch.setenv("GLIBC_TUNABLES", wanted)
    assert not is_tuned(wanted)


def test_what_the_operator_says_of_malloc_stays_and_is_added_to_once() -> None:
    own = "glibc.malloc.tcache_count=3"
    assert tuned(own) == f"{MALLOC_TUNABLES}:{own}"
    assert tuned(tuned(own)) == tuned(own)


def test_a_worker_shares_memory_and_one_that_takes_its_place_serves_as_well(tmp_path: Path) -> None:
    with serve_process(repository(tmp_path, {"m": identity()})) as server:
        (first,) = server.workers()
        rollup = Path(f"/proc/{first}/smaps_rollup").read_text().splitlines()
        shared = {line.split(":")[0]: int(line.split()[1]) for line in rollup[1:]}["Shared_Dirty"]
        assert shared / 1024 > SHARED_MiB
        os.kill(first, signal.SIGKILL)
        wait_until(
            lambda: server.workers() not in ([], [first]) and server.page("/readyz")[0] == 200, "the next worker"
        )
        assert b"modelward.server\0" in Path(f"/proc/{server.workers()[0]}/cmdline").read_bytes()


def test_where_the_system_gives_no_process_none_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(prefork, "is_tuned", lambda tunables: True)
    monkeypatch.setattr(prefork, "threads", lambda: 1)
    monkeypatch.setattr(os, "fork", refuse)
    assert prefork.prefork(2, "", lambda: None, []) == []


def test_a_server_whose_starter_ignores_the_end_of_children_is_ready_and_ends(tmp_path: Path) -> None:
    launcher = ["sh", "-c", 'trap "" CHLD; exec "$@"', "sh"]
    with serve_process(repository(tmp_path, {"m": identity()}), launcher=launcher) as server:
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_until(lambda: server.metric("modelward_worker_deaths_total", cause="signal") == 1, "its death is counted")
        assert server.terminate() == 0
