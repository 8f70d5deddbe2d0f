"""`modelward serve` as a process: what it takes, what it prints, what it answers over HTTP, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import TensorProto
from prometheus_client.parser import text_string_to_metric_families

from modelward.server.report import COLUMNS
from tests import models
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import Stub, arrays, parameters, request
from tests.support import ServerProcess, serve_process, wait_until
from tests.template import Forked

ROW = np.ones((1, 4), np.float32)
TIMEOUT = 30.0


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = models.repository(
        tmp_path_factory.mktemp("serve"),
        {"add": {1: models.add_one(), 10: models.add_one(), 9: models.add_one()}, "slow": models.slow_loop(10_000)},
    )
    (root / "slow" / "model.yaml").write_text(
        "batching: {max: 1}\ndeadline: 20ms\nfallback:\n  - value: {y: [[0, 0, 0, 0]]}\n"
    )
    return root


@pytest.fixture(scope="module")
def process(repository: Path) -> Iterator[ServerProcess]:
    with serve_process(
        "--model-repository", repository, "--set", "models.add.limit={rate: 100/s, burst: 50}"
    ) as running:
        yield running


def refused_to_start(*arguments: str | Path) -> str:
    """What `modelward serve` prints before it gives up; its exit code must be 1."""
    words = ["serve", "--grpc-port", "0", "--http-port", "0", "--set", "listen.admin=off", *map(str, arguments)]
    process = Forked(words, {**os.environ, "NO_COLOR": "1"})
    with process.stdout as printed:
        told = printed.read()
    assert process.wait(120) == 1, told
    assert "Traceback" not in told
    return told


# ---- what it serves ------------------------------------------------------------------------------------------


def test_ready_says_of_each_model_which_guards_are_on_in_plain_lines_where_no_terminal_reads_it(
    process: ServerProcess,
) -> None:
    printed = "".join(process.output)
    assert printed.isascii() and "READY" in printed.splitlines()
    lines = [line.split("; ") for line in printed.splitlines() if line.startswith("model ")]
    rows = [dict(zip(COLUMNS, (cell for cell in line), strict=True)) for line in lines]
    versions = [("add", "1"), ("add", "9"), ("add", "10"), ("slow", "1")]
    assert [(row["model"], row["version"]) for row in rows] == [(f"model {m}", f"version {v}") for m, v in versions]
    assert "model 100/s" in printed
    assert "admin    no operators, plain TCP: every user of this machine may do everything" in printed
    slow = rows[-1]
    assert "thread" in slow["runs on"]
    assert slow["deadline"] == "deadline 20ms"
    assert slow["fallback"] == "fallback value"
    assert "anomaly" in slow["guards off"]
    assert "deadline" not in slow["guards off"]


def test_a_repository_is_served_with_its_own_settings(process: ServerProcess) -> None:
    with Stub(process.grpc) as stub:
        assert arrays(stub.infer(request("add", {"x": ROW})))["y"].tolist() == [[2.0] * 4]
        assert parameters(stub.infer(request("slow", {"x": ROW}))) == {
            "modelward_fallback": "deadline",
            "modelward_fallback_source": "value",
        }


def test_versions_are_numbers_and_the_largest_is_the_default(process: ServerProcess) -> None:
    with Stub(process.grpc) as stub:
        assert stub.infer(request("add", {"x": ROW})).model_version == "10"
        assert stub.infer(request("add", {"x": ROW}, version="9")).model_version == "9"


def test_a_single_file_is_version_one_of_its_name(tmp_path: Path) -> None:
    model = tmp_path / "my-model.v2.onnx"
    model.write_bytes(models.add_one())
    with serve_process(model) as running, Stub(running.grpc) as stub:
        assert stub.infer(request("my-model.v2", {"x": ROW})).model_version == "1"


def test_a_configuration_file_may_name_everything(tmp_path: Path) -> None:
    models.repository(tmp_path / "models", {"add": models.add_one()})
    config = tmp_path / "modelward.yaml"
    config.write_text("repository: models\nlimits:\n  total: {rate: 36/h, burst: 1}\n")
    with serve_process("--config", config) as running, Stub(running.grpc) as stub:
        stub.infer(request("add", {"x": ROW}))
        with pytest.raises(grpc.RpcError, match="over the server's limit of"):
            stub.infer(request("add", {"x": ROW}))


def test_it_listens_on_a_unix_socket_and_removes_it(tmp_path: Path, repository: Path) -> None:
    path = tmp_path / "grpc.sock"
    command = [sys.executable, "-m", "modelward", "serve", str(repository), "--http-port", "0",
               "--set", f"listen.grpc=unix:{path}", "--set", "listen.admin=off"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            wait_until(path.exists, "the socket")
            with grpc.insecure_channel(f"unix:{path}") as channel:
                grpc.channel_ready_future(channel).result(TIMEOUT)
                health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        finally:
            running.terminate()
        assert running.wait(TIMEOUT) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("sequence", models.sequence_output(), r"sequence"),
        ("custom", models.custom_domain(), "example.custom"),
        ("hidden", models.custom_domain_in_branch(), "example.custom"),
        ("garbage", b"not a model", "ONNX"),
        ("empty", b"", "empty"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    model = tmp_path / f"{name}.onnx"
    model.write_bytes(content)
    assert told.lower() in refused_to_start(model).lower()


def test_external_data_may_not_leave_the_models_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    folder = tmp_path / "repository" / "leaky" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(models.external_data(folder, "../../../secret.bin", write=False))
    assert "secret.bin" in refused_to_start(tmp_path / "repository")


def test_every_problem_of_a_configuration_is_told_at_once(tmp_path: Path, repository: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("limts: {}\nworkers: 0\nmodels:\n  slow: {deadline: soon}\n")
    told = refused_to_start(repository, "--config", config)
    for word in ("limts", "limits", "workers", "deadline", "soon"):
        assert word in told


def test_a_taken_port_is_told_with_its_address(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = refused_to_start(repository, "--grpc-port", str(taken.getsockname()[1]))
    assert address in told


# ---- HTTP ----------------------------------------------------------------------------------------------------


def test_health_and_readiness_answer_probes(process: ServerProcess) -> None:
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert process.page(path)[0] == 200
    assert process.page("/")[0] == 404


def test_metrics_name_what_dashboards_read(process: ServerProcess) -> None:
    with Stub(process.grpc) as stub:
        stub.infer(request("add", {"x": ROW}, version="1"))
        with pytest.raises(grpc.RpcError):
            stub.infer(request("add", {"x": ROW[:, :3]}))
    page = process.page("/metrics")[1]
    assert {family.name for family in text_string_to_metric_families(page)} >= {
        "modelward_requests", "modelward_refusals", "modelward_request_seconds", "modelward_stage_seconds",
        "modelward_fallbacks", "modelward_inflight", "modelward_batch_rows", "modelward_late_results",
        "nv_inference_request_success", "nv_inference_count", "nv_inference_exec_count",
        "nv_inference_queue_duration_us", "nv_inference_compute_infer_duration_us",
    }  # fmt: skip
    assert process.metric("modelward_requests_total", model="add", version="1", code="OK") >= 1
    assert process.metric("modelward_requests_total", model="add", code="INVALID_ARGUMENT") >= 1
    assert process.metric("modelward_request_seconds_count", model="add", version="1") >= 1
    assert process.metric("modelward_batch_rows_count", model="add") >= 1
    assert process.metric("nv_inference_count", model="add", version="1") >= 1


# ---- the end -------------------------------------------------------------------------------------------------


def one_and_no_end(message: Any) -> Iterator[Any]:
    """A stream's requests: one, and then the client only listens."""
    yield message
    threading.Event().wait(TIMEOUT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_fails_no_request_and_ends_with_zero(repository: Path, number: int) -> None:
    failures: list[str] = []
    answered = threading.Semaphore(0)

    def load(address: str) -> None:
        """Requests one after the other until the server wants no more; anything but UNAVAILABLE is a failure."""
        with Stub(address, **{"grpc.enable_retries": 0}) as stub:
            while True:
                try:
                    response = stub.infer(request("add", {"x": ROW}))
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        failures.append(str(error))
                    return
                if not (arrays(response)["y"] == 2).all():
                    failures.append(str(response))
                answered.release()

    with serve_process(repository, "--set", "models.slow.deadline=null") as running:
        clients = [threading.Thread(target=load, args=(running.grpc,)) for _ in range(4)]
        for client in clients:
            client.start()
        for _ in range(200):
            assert answered.acquire(timeout=TIMEOUT)
        with Stub(running.grpc) as stub:
            slow = [stub.future(request("slow", {"x": ROW})) for _ in range(3)]
            stream = stub.stream(one_and_no_end(request("slow", {"x": ROW})))
            wait_until(lambda: running.metric("modelward_inflight") >= 4, "slow requests to be under way")
            running.process.send_signal(number)
            for future in slow:  # begun before the signal, so finished
                assert arrays(future.result())["y"].shape == (1, 4)
            assert arrays(next(stream).infer_response)["y"].shape == (1, 4)
        for client in clients:
            client.join(TIMEOUT)
        assert running.process.wait(TIMEOUT) == 0
    assert failures == []


def test_an_idle_server_ends_at_once_and_tells_those_who_watch(repository: Path) -> None:
    with serve_process(repository) as running, grpc.insecure_channel(running.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        with H2Client(running.grpc) as idle:
            idle.call(framed(request("add", {"x": ROW}).SerializeToString()))
            running.process.send_signal(signal.SIGTERM)
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert idle.is_closed()
        assert running.process.wait(TIMEOUT) == 0


def test_a_second_signal_does_not_wait_for_anybody(tmp_path: Path) -> None:
    model = tmp_path / "hours.onnx"
    model.write_bytes(models.slow_loop(20_000))
    with serve_process(model, "--set", "models.hours.batching={max: 1}") as running, Stub(running.grpc) as stub:
        queue = [stub.future(request("hours", {"x": ROW.repeat(256, 0)})) for _ in range(100)]  # minutes of work
        wait_until(lambda: running.metric("modelward_inflight") == 100, "a long queue")
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: running.page("/readyz")[0] == 503, "the drain to begin")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(TIMEOUT) == 0
        assert {future.code() for future in queue} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK}


def test_a_client_that_never_reads_does_not_hold_up_the_end(tmp_path: Path) -> None:
    model = tmp_path / "echo.onnx"
    model.write_bytes(models.identity(TensorProto.FLOAT, ("batch", 4)))
    with serve_process(model) as running, H2Client(running.grpc, window=0) as client:
        client.send(client.begin(), framed(request("echo", {"x": ROW}).SerializeToString()), end=True)
        wait_until(lambda: running.metric("nv_inference_count", model="echo") == 1, "an answer that waits")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(TIMEOUT) == 0
