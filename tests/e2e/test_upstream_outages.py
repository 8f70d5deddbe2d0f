"""Real servers that die and freeze under load: who is hit, for how long, and how soon everything is as before."""

from __future__ import annotations

import contextlib
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from tests.e2e.messages import Stub, request
from tests.e2e.test_upstream_faults import nothing_is_left
from tests.e2e.test_upstreams import ROW, in_front
from tests.models import add_one, repository
from tests.support import EmbeddedServer, ServerProcess, serve_process, wait_until

CLIENTS = 8
DEADLINE_SECONDS = 0.4
RECOVERY_SECONDS = 2.0
EJECTING_FAILURES = 5  # in a row


@dataclass(frozen=True)
class Outcome:
    """One request: when it began and ended (monotonic seconds), and its status."""

    began: float
    ended: float
    code: grpc.StatusCode

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass
class Load:
    """Clients that each send one request after the other."""

    address: str
    outcomes: list[Outcome] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        message = request("add", {"x": ROW})
        with Stub(self.address) as stub:
            while not self.ending.is_set():
                began, code = time.monotonic(), grpc.StatusCode.OK
                try:
                    stub.infer(message, timeout=5.0)
                except grpc.RpcError as error:
                    code = error.code()
                self.outcomes.append(Outcome(began, time.monotonic(), code))

    def between(self, start: float, end: float) -> list[Outcome]:
        return [o for o in self.outcomes if o.began >= start and o.ended <= end]


@contextlib.contextmanager
def load(server: EmbeddedServer) -> Iterator[Load]:
    running = Load(server.grpc)
    threads = [threading.Thread(target=running.run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        running.ending.set()
        for thread in threads:
            thread.join()


def p99(outcomes: list[Outcome]) -> float:
    return statistics.quantiles([o.seconds for o in outcomes], n=100)[98]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[ServerProcess]]:
    models = repository(tmp_path, {"add": add_one()})
    with serve_process(models) as first, serve_process(models) as second, serve_process(models) as third:
        yield [first, second, third]


@pytest.mark.parametrize("hedging", [False, True], ids=["alone", "hedged"])
def test_of_three_upstreams_one_is_killed_and_one_frozen(three: list[ServerProcess], hedging: bool) -> None:
    settings = {"models__add__deadline": f"{DEADLINE_SECONDS * 1e3:.0f}ms"}
    if hedging:
        settings["models__add__hedging"] = "{budget: 0.1}"
    killed, frozen, _ = three
    with in_front([s.grpc for s in three], **settings) as server:
        with load(server) as clients:
            wait_until(lambda: len(clients.outcomes) >= 2_000, "the usual latencies")
            struck = time.monotonic()
            killed.signal_all(signal.SIGKILL)
            frozen.signal_all(signal.SIGSTOP)
            wait_until(lambda: time.monotonic() > struck + RECOVERY_SECONDS, "the end of the time to recover in")
            recovered, so_far = time.monotonic(), len(clients.outcomes)
            wait_until(lambda: len(clients.outcomes) >= so_far + 1_000, "the latencies afterwards")
            end = time.monotonic()
        frozen.signal_all(signal.SIGCONT)
        nothing_is_left(server)
    before, after = clients.between(0, struck), clients.between(recovered, end)
    failed = [o for o in clients.outcomes if o.code is not grpc.StatusCode.OK]
    dead = [o for o in failed if o.code is grpc.StatusCode.INTERNAL]
    stuck = [o for o in failed if o.code is grpc.StatusCode.DEADLINE_EXCEEDED]
    assert len(failed) == len(dead) + len(stuck)
    # what was on the dead connection, one request of each client at most; what the frozen one took until found out
    assert len(dead) <= CLIENTS
    assert len(stuck) <= (CLIENTS if hedging else CLIENTS + EJECTING_FAILURES)
    assert all(o.began < struck + DEADLINE_SECONDS + 0.1 for o in failed)
    # twice the usual, or what cannot be told from a busy machine: far from a deadline in any case
    assert p99(after) < max(2 * p99(before), DEADLINE_SECONDS / 4)
