"""A supervisor and its workers: one truth over all of them, also when they die, hang or are told to end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests import models
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import Stub, request
from tests.support import START_SECONDS, ServerProcess, serve_process, wait_until

ROW = request("add", {"x": np.ones((1, 4), np.float32)})
RETRYING = {"grpc.enable_retries": 1, "grpc.service_config": """{"methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 5, "initialBackoff": "0.02s", "maxBackoff": "0.5s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""}  # fmt: skip

WATCH = "/grpc.health.v1.Health/Watch"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.repository(tmp_path_factory.mktemp("workers"), {"add": models.add_one()})


@pytest.fixture
def two(repository: Path) -> Iterator[ServerProcess]:
    with serve_process(repository, "--set", "workers=2") as running:
        yield running


def sockets(server: ServerProcess) -> list[int]:
    """Connections, and what else of sockets each worker holds."""
    held = [[os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()] for pid in server.workers()]
    return [sum(name.startswith("socket:") for name in names) for names in held]


class Load:
    """Clients that ask one thing after the other, each on a connection of its own, until they are told to stop."""

    def __init__(self, address: str, clients: int, **options: object) -> None:
        self.by_client = [0] * clients
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i, address, options)) for i in range(clients)]

    @property
    def answered(self) -> int:
        return sum(self.by_client)

    def wait_for_each(self, answers: int) -> None:
        """Until every client has had `answers` more answers: none is still without a connection."""
        before = list(self.by_client)
        wait_until(
            lambda: all(now >= then + answers for now, then in zip(self.by_client, before, strict=True)), "answers"
        )

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self, client: int, address: str, options: dict[str, object]) -> None:
        with Stub(address, **options) as stub:
            while not self._over.is_set():
                try:
                    stub.infer(ROW)
                except grpc.RpcError as error:
                    with self._lock:
                        self.failures.append(f"{error.code()} {error.details()}")
                else:
                    self.by_client[client] += 1


def test_figures_are_the_sum_over_workers_and_survive_them(two: ServerProcess) -> None:
    with Stub(two.grpc) as one, Stub(two.grpc) as other:
        for stub in (one, other, one, other):
            stub.infer(ROW)
    counted = two.metric("modelward_requests_total", model="add", code="OK")
    assert counted == 4
    for _ in range(3):
        before = two.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda before=before: set(two.workers()) != set(before) and len(two.workers()) == 2, "another")  # type: ignore[misc]
        # ready, before the next is killed: until one is, no request is answered
        wait_until(lambda: two.metric("modelward_workers") == 2, "its readiness", START_SECONDS)
        with Stub(two.grpc, **RETRYING) as stub:
            stub.infer(ROW)
            counted += 1
            assert two.metric("modelward_requests_total", model="add", code="OK") == counted
            assert stub.statistics("add").inference_stats.success.count == counted
    assert two.terminate() == 0


def test_a_client_that_retries_notices_nothing_of_a_worker_that_is_killed(two: ServerProcess) -> None:
    with Load(two.grpc, 4, **RETRYING) as load:
        load.wait_for_each(10)
        for _ in range(3):
            killed = two.workers()[0]
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda killed=killed: killed not in two.workers() and len(two.workers()) == 2, "another")  # type: ignore[misc]
            wait_until(lambda: two.metric("modelward_workers") == 2, "its readiness", START_SECONDS)
            load.wait_for_each(25)
    assert load.failures == []


def test_what_a_dead_worker_had_in_flight_is_not_in_flight_any_more(tmp_path: Path) -> None:
    slow = request("slow", {"x": np.ones((256, 4), np.float32)})
    root = models.repository(tmp_path, {"slow": models.slow_loop(20_000)})
    with serve_process(root, "--set", "models.slow.batching={max: 1}") as running, Stub(running.grpc) as stub:
        futures = [stub.future(slow) for _ in range(20)]
        wait_until(lambda: running.metric("modelward_inflight") == 20, "requests under way")
        os.kill(running.workers()[0], signal.SIGKILL)
        wait_until(lambda: running.metric("modelward_inflight") == 0, "nothing to be in flight")
        assert {future.code() for future in futures} == {grpc.StatusCode.UNAVAILABLE}
        assert running.metric("nv_inference_pending_request_count", model="slow") == 0
        wait_until(lambda: running.page("/readyz")[0] == 200, "its replacement")
        assert running.metric("modelward_connections") <= 1


def test_bytes_in_flight_are_limited_over_all_workers_and_a_dead_ones_are_free_again(repository: Path) -> None:
    limits = ("--set", "limits.inflight_bytes=450KiB", "--set", "limits.message_size=200KiB")
    body = framed(request("add", {"x": np.ones((12_000, 4), np.float32)}).SerializeToString())
    with serve_process(repository, "--set", "workers=2", *limits) as running, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(H2Client(running.grpc)) for _ in range(4)]
        wait_until(lambda: running.metric("modelward_connections") == 4, "the connections")
        holding = []
        for client in clients:
            stream = client.begin()
            client.send(stream, body[:-1])
            holding.append((client, stream))
            if len(holding) == 2:
                wait_until(lambda: running.metric("modelward_inflight_bytes") > 380_000, "two messages")
        for client, stream in holding[2:]:
            reply = client.reply(stream)
            assert (reply.code, reply.reason) == (8, "INFLIGHT_BYTES")
        for pid in running.workers():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: running.metric("modelward_inflight_bytes") == 0, "the bytes to be free")
        wait_until(lambda: running.page("/readyz")[0] == 200, "other workers")
        assert stack.enter_context(H2Client(running.grpc)).call(body).code == 0


def test_a_peer_has_so_many_connections_over_all_workers_and_those_of_a_dead_one_are_free_again(
    repository: Path,
) -> None:
    def busy(count: int) -> list[H2Client]:
        """The connections that are accepted, each of which stays busy: none gives way."""
        taken = []
        for _ in range(count):
            client = stack.enter_context(H2Client(running.grpc))
            with contextlib.suppress(AssertionError, ConnectionError):
                client.send(client.begin(WATCH), framed(b""), end=True)
                assert client.call(framed(ROW.SerializeToString())).code == 0
                taken.append(client)
        return taken

    with (
        serve_process(repository, "--set", "workers=2", "--set", "limits.connections={per_peer: 4}") as running,
        contextlib.ExitStack() as stack,
    ):
        assert len(busy(8)) == 4
        refused = "modelward_connections_refused_total"
        wait_until(lambda: running.metric(refused, reason="peer_full") == 4, "the others to be counted")
        for pid in running.workers():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: running.metric("modelward_connections") == 0, "the connections to be forgotten")
        wait_until(lambda: running.metric("modelward_workers") == 2, "other workers")
        assert len(busy(8)) == 4


def test_a_worker_of_a_program_that_was_replaced_meanwhile_takes_nothing_down(repository: Path, tmp_path: Path) -> None:
    """The supervisor cannot read what such a worker says. The worker that runs goes on, and the server can be ended."""
    later = tmp_path / "sitecustomize.py"  # read by each process that starts with Python
    with serve_process(repository, "--set", "workers=2", environment={"PYTHONPATH": str(tmp_path)}) as server:
        later.write_text("import modelward.pickled\nmodelward.pickled.dumps = lambda value: b'cmodelward\\nGone\\n.'\n")
        killed, kept = server.workers()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: "Restart the whole server" in "".join(server.output), "what to do", START_SECONDS)
        assert kept in server.workers()
        with Stub(server.grpc) as stub:
            assert stub.infer(ROW) is not None
        server.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "not restarted" in "".join(server.output), "the restart to be refused", START_SECONDS)
        later.unlink()
        wait_until(lambda: len(server.workers()) == 2 and killed not in server.workers(), "another", START_SECONDS)
        assert server.terminate(START_SECONDS) == 0
        assert "Traceback" not in "".join(server.output)


def test_a_worker_that_hangs_is_killed_and_replaced(two: ServerProcess) -> None:
    hung = two.workers()[0]
    os.kill(hung, signal.SIGSTOP)
    wait_until(lambda: hung not in two.workers() and len(two.workers()) == 2, "another")
    assert any("hangs" in line for line in two.output)
    assert two.page("/readyz")[0] == 200


def test_a_limit_holds_over_all_workers_whatever_the_spread_of_connections(repository: Path) -> None:
    seconds, rate, burst = 3.0, 100, 200  # twice as much at once as comes in a second: no client need be in time for it
    limit = f"limits.total={{rate: {rate}/s, burst: {burst}}}"
    with serve_process(repository, "--set", "workers=2", "--set", limit) as running:
        began = time.monotonic()
        with Load(running.grpc, 6) as load:
            wait_until(lambda: load.answered >= burst + rate * seconds, "seconds of load")
        took = time.monotonic() - began
        assert {failure.split()[0] for failure in load.failures} == {"StatusCode.RESOURCE_EXHAUSTED"}
        # less where the machine keeps all clients from asking for two seconds
        assert 0.8 <= load.answered / (burst + rate * took) <= 1.03
        assert running.metric("modelward_requests_total", code="OK") == load.answered


def test_few_connections_are_spread_evenly(two: ServerProcess) -> None:
    before = sockets(two)
    with contextlib.ExitStack() as stack:

        def spread() -> list[int]:
            """With one more connection."""
            client = stack.enter_context(H2Client(two.grpc))
            assert client.call(framed(ROW.SerializeToString())).code == 0
            return [now - then for now, then in zip(sockets(two), before, strict=True)]

        for _ in range(15):
            spread()
        found = spread()
        assert sum(found) == 16
        # 8 each, unless the machine keeps one of them from its turn for 2 ms: then the next are that one's
        if min(found) < 2:
            wait_until(lambda: min(spread()) >= 2, "the other's turn")


def test_a_rolling_restart_fails_no_request_and_refuses_no_connection(repository: Path) -> None:
    arrivals = "limits.connections.rate_per_peer=100000/s"
    with serve_process(repository, "--set", "workers=2", "--set", arrivals) as running:
        before = running.workers()
        # gRPC's own retries are on: a thread may pick a connection whose GOAWAY has come, and its call never leaves
        with Load(running.grpc, 2) as load:
            wait_until(lambda: load.answered > 50, "load")
            running.process.send_signal(signal.SIGUSR2)
            fresh, counted = 0, 0.0
            while running.metric("modelward_worker_restarts_total", reason="asked") < 2 or fresh < 200:
                with H2Client(running.grpc, patient=True) as client:
                    assert client.call(framed(ROW.SerializeToString())).code == 0
                fresh += 1
                counted, last = running.metric("modelward_requests_total"), counted
                assert counted > last
            wait_until(lambda: not set(before) & set(running.workers()), "the old workers to end")
        assert load.failures == []
        assert running.metric("modelward_workers") == 2
        assert running.metric("modelward_requests_total", code="OK") == load.answered + fresh
        for gauge in ("modelward_inflight", "modelward_inflight_bytes", "modelward_connections"):
            wait_until(lambda gauge=gauge: running.metric(gauge) == 0, f"{gauge} to be 0")  # type: ignore[misc]


def test_clients_that_have_not_spoken_when_their_worker_leaves_are_still_answered(two: ServerProcess) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(H2Client(two.grpc, patient=True, silent=True)) for _ in range(4)]
        spoken = [stack.enter_context(H2Client(two.grpc, patient=True)) for _ in range(4)]
        for client in spoken:
            assert client.call(framed(ROW.SerializeToString())).code == 0
        two.process.send_signal(signal.SIGTERM)
        assert all(client.is_closed() for client in spoken), "those who had nothing under way"
        assert [client.call(framed(ROW.SerializeToString())).code for client in silent] == [0] * 4
        assert all(client.is_closed() for client in silent)


def test_a_replacement_that_cannot_start_leaves_the_old_worker_in_its_place(tmp_path: Path) -> None:
    root = models.repository(tmp_path, {"add": models.add_one()})
    with serve_process(root) as running, Stub(running.grpc) as stub:
        before = running.workers()
        (root / "add" / "1" / "model.onnx").write_bytes(b"nothing that can be opened")
        running.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: any("not restarted" in line for line in running.output), "the reason in the log")
        assert running.workers() == before
        stub.infer(ROW)


def test_workers_end_when_their_supervisor_has_gone(two: ServerProcess) -> None:
    workers = two.workers()
    two.process.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers to end")


def test_a_model_that_cannot_be_opened_is_told_and_no_worker_is_left(tmp_path: Path) -> None:
    root = models.repository(tmp_path, {"add": models.add_one()})
    with serve_process(root) as running:
        (root / "add" / "1" / "model.onnx").write_bytes(b"nothing that can be opened")
        os.kill(running.workers()[0], signal.SIGKILL)
        wait_until(lambda: any("cannot start" in line for line in running.output), "the reason in the log")
        assert running.page("/readyz")[0] == 503
        (root / "add" / "1" / "model.onnx").write_bytes(models.add_one())
        wait_until(lambda: running.page("/readyz")[0] == 200, "a worker that starts")
