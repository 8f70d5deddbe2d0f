"""Two servers that hold limits together through a real Redis or Valkey, and what they do when it has gone."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests import models
from tests import store as stores
from tests.e2e.messages import Stub, refused, request
from tests.support import Server, ServerProcess, reloadable, serve_process, serve_processes, wait_until

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
ROW = request("add", {"x": np.ones((1, 4), np.float32)})
EXPENSIVE = request("slow", {"x": np.ones((1, 4), np.float32)})
RATE, SECONDS = 100, 8.0
# of what a limit allows in that time: what two servers may be off, and what a lost exchange adds (one of them by itself
# for the time until the next)
OFF, LOST = 0.05, 0.035


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.repository(
        tmp_path_factory.mktemp("shared"), {"add": models.add_one(), "slow": models.slow_loop(100)}
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[stores.Store]:
    with stores.running(tmp_path) as running:
        yield running


def serving(repository: Path, store: stores.Store, *sets: str) -> contextlib.AbstractContextManager[ServerProcess]:
    return serve_process(*_arguments(repository, store, sets))


def two(repository: Path, store: stores.Store, *sets: str) -> contextlib.AbstractContextManager[list[ServerProcess]]:
    """Two servers that are configured alike."""
    return serve_processes(*[_arguments(repository, store, sets)] * 2)


def _arguments(repository: Path, store: stores.Store, sets: Sequence[str]) -> list[str | Path]:
    return [repository, *(part for text in (f"limits.shared={store.url}", *sets) for part in ("--set", text))]


def exchanged(server: Server) -> None:
    """What it has let pass so far is known to the store."""
    before = server.metric("modelward_shared_limits_syncs_total", result="ok")
    # a round that had begun before, and one that had not
    wait_until(lambda: server.metric("modelward_shared_limits_syncs_total", result="ok") >= before + 2, "two rounds")


class Client:
    """Asks one server for more than the limit, in bundles, while it is told to."""

    def __init__(self, server: ServerProcess, message: object) -> None:
        self.answered = 0
        self._message = message
        self._server = server
        self._wanted, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        with Stub(self._server.grpc, **{"grpc.enable_retries": 0}) as stub:
            while not self._over.is_set():
                if not self._wanted.wait(0.05):
                    continue
                codes = [call.code() for call in [stub.future(self._message) for _ in range(8)]]
                assert set(codes) <= {grpc.StatusCode.OK, EXHAUSTED}
                self.answered += codes.count(grpc.StatusCode.OK)
                self._over.wait(0.005)

    def go(self, wanted: bool) -> None:
        self._wanted.set() if wanted else self._wanted.clear()

    def end(self) -> None:
        self._over.set()
        self._thread.join()


# who is asked in which second
SPREADS = {
    "even": lambda second: (True, True),
    "moving": lambda second: (second % 2 == 0, second % 2 == 1),  # in each second all at one
}


def spend(servers: tuple[ServerProcess, ServerProcess], message: object, spread: str) -> tuple[int, float]:
    """Requests that were answered, and the seconds it took."""
    clients = [Client(server, message) for server in servers]
    began, pause = time.monotonic(), threading.Event()
    try:
        while (now := time.monotonic() - began) < SECONDS:
            for client, wanted in zip(clients, SPREADS[spread](int(now)), strict=True):
                client.go(wanted)
            pause.wait(0.01)
    finally:
        for client in clients:
            client.end()
    return sum(client.answered for client in clients), time.monotonic() - began


def lost(*servers: ServerProcess) -> int:
    return int(sum(server.metric("modelward_shared_limits_syncs_total", result="failed") for server in servers))


@pytest.fixture(scope="module")
def pair(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """With one rate for all; who has just spent it finds it spent, and no burst."""
    with (
        stores.running(tmp_path_factory.mktemp("store")) as store,
        two(repository, store, f"limits.total={{rate: {RATE}/s}}") as both,
    ):
        yield both


@pytest.mark.slow
@pytest.mark.parametrize("spread", SPREADS)
def test_two_servers_let_as_many_requests_pass_as_one_would(
    pair: tuple[ServerProcess, ServerProcess], spread: str
) -> None:
    before = lost(*pair)
    answered, took = spend(pair, ROW, spread)
    assert answered == pytest.approx(RATE * took, rel=OFF + LOST * (lost(*pair) - before))


@pytest.mark.slow
def test_two_servers_let_as_much_backend_time_pass_as_one_would(repository: Path, store: stores.Store) -> None:
    limit = "models.slow.limit={time: 100ms/s, burst: 20ms}"
    with two(repository, store, limit) as (one, other):
        _, took = spend((one, other), EXPENSIVE, "even")
        spent = sum(s.metric("modelward_backend_time_taken_seconds_total", model="slow") for s in (one, other))
        # the last runs may take several times what was predicted
        assert spent == pytest.approx(0.1 * took, rel=3 * OFF + LOST * lost(one, other))


def test_what_one_has_spent_of_an_identity_a_model_or_the_total_the_other_knows(
    repository: Path, store: stores.Store
) -> None:
    limits = ("limits.identity={rate: 36/h, burst: 9}", "models.add.limit={rate: 36/h, burst: 6}", "workers=2")
    with (
        two(repository, store, *limits) as (one, other),
        Stub(one.grpc) as stub,
        Stub(other.grpc) as elsewhere,
    ):
        for _ in range(6):
            stub.infer(ROW)
        assert refused(stub, ROW).reason == "MODEL_LIMIT"
        exchanged(one)
        elsewhere.infer(ROW)  # it has never heard of the model, and lets pass what it may by itself
        exchanged(other)
        assert refused(elsewhere, ROW).reason == "MODEL_LIMIT"
        for _ in range(2):
            stub.infer(EXPENSIVE)
        exchanged(one)
        elsewhere.infer(EXPENSIVE)  # it knows of seven
        exchanged(other)
        told = refused(elsewhere, EXPENSIVE)  # and now of ten, at any server, for this address
        assert (told.code, told.reason) == (EXHAUSTED, "IDENTITY_LIMIT")
        assert 0 < told.retry_seconds <= 10 * 100


def test_peers_are_each_servers_own(repository: Path, store: stores.Store) -> None:
    limits = "limits.peer={rate: 36/h, burst: 2}"
    with two(repository, store, limits) as both:
        for server in both:
            with Stub(server.grpc) as stub:
                for _ in range(2):
                    stub.infer(ROW)
                exchanged(server)
                assert refused(stub, ROW).reason == "PEER_LIMIT"


def test_while_the_store_is_gone_limits_hold_in_each_server_and_no_request_waits(
    repository: Path, store: stores.Store
) -> None:
    with serving(repository, store, "limits.total={rate: 2/s, burst: 5}") as server:
        assert "limits   identity, model and total limits are held together" in "".join(server.output)
        store.kill()
        wait_until(lambda: server.metric("modelward_shared_limits_up") == 0, "the loss to be noticed")
        assert server.metric("modelward_shared_limits_syncs_total", result="failed") >= 1
        began = time.monotonic()
        with Stub(server.grpc, **{"grpc.enable_retries": 0}) as stub:
            codes = [call.code() for call in [stub.future(ROW) for _ in range(100)]]
        assert 5 <= codes.count(grpc.StatusCode.OK) <= 5 + 2 * (time.monotonic() - began)
        assert set(codes) <= {grpc.StatusCode.OK, EXHAUSTED}
        store.start()
        wait_until(lambda: server.metric("modelward_shared_limits_up") == 1, "the store to be found again")
        # a busy machine may lose it again and again: each time it is said once, and once that it is back
        wait_until(lambda: len(said := levels(server)) >= 2 and len(said) % 2 == 0, "the log to say so")
        said = levels(server)
        assert said == ["ERROR", "INFO"] * (len(said) // 2)


def levels(server: ServerProcess) -> list[str]:
    return [line.split()[1] for line in server.output if "modelward.limits" in line]


def test_a_server_in_one_process_shares_limits_too_until_it_is_restarted(
    repository: Path, store: stores.Store, tmp_path: Path
) -> None:
    limit = "{rate: 36/h, burst: 3}"
    with (
        serving(repository, store, f"limits.total={limit}") as one,
        reloadable(
            tmp_path / "here", {"add": models.add_one()}, limits__shared=store.url, limits__total=limit
        ) as other,
        Stub(one.grpc) as stub,
        Stub(other.grpc) as elsewhere,
    ):
        for _ in range(3):
            stub.infer(ROW)
        exchanged(one)
        changed = other.reload(limits__shared=f"{store.url}?db=1", limits__total="{rate: 36/h, burst: 2}")
        assert "limits.shared.url needs a restart" in changed
        elsewhere.infer(ROW)
        exchanged(other)
        assert refused(elsewhere, ROW).reason == "TOTAL_LIMIT"


def test_a_server_starts_without_its_store_and_says_so(repository: Path, store: stores.Store) -> None:
    store.kill()
    with serving(repository, store, "limits.total={rate: 1/h, burst: 1}") as server:
        assert "; it cannot be reached" in "".join(server.output)
        with Stub(server.grpc) as stub:
            stub.infer(ROW)
            assert refused(stub, ROW).reason == "TOTAL_LIMIT"


def test_check_says_whether_the_store_can_be_reached_and_fails_in_neither_case(
    repository: Path, store: stores.Store
) -> None:
    def check(*more: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "modelward",
            "check",
            str(repository),
            "--set",
            f"limits.shared={store.url}",
            *more,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    reached = check()
    assert reached.returncode == 0
    assert f"limits: identity, model and total limits are held together with other servers through {store.url}" in (
        reached.stdout
    )
    store.kill()
    told = check("--json")
    assert told.returncode == 0
    (note,) = [note for note in json.loads(told.stdout)["notes"] if note["where"] == "limits.shared"]
    assert "cannot be reached" in note["what"]
